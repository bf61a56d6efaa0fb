"""`cascade init`: which of a person's tables and columns is which, and the config that says so."""
