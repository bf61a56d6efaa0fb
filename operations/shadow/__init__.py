"""Logged requests asked again of a version that does not serve yet: what would change."""
