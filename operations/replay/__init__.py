"""Logged requests asked again, of the version that answered them or of another one."""
