"""The chain measured against its baselines on the test split; writes report/."""
