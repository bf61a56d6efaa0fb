"""Logs of decisions: what was shown, with which probability, and what became of it."""
