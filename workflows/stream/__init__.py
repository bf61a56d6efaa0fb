"""Live events beside the tables: their settings, replay for training, the log as a table."""
