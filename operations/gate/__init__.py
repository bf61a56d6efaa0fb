"""Whether a newer version may take the place of the served one."""
