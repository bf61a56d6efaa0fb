"""The served chain in service: what it was asked and answered, why, and what its signals say."""
