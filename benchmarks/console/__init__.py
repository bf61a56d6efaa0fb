"""How long the pages of the console take."""
