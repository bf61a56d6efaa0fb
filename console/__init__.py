"""The web pages on what a chain does: one user's answer step by step, an item, and what the collector saw."""
