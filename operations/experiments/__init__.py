"""Experiments: who is in them, what is known at each look, and what a stage or a breach does."""
