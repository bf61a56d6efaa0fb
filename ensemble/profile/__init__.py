"""What training looked like, counted: the reference that travels with a version, for the signals of its service."""
