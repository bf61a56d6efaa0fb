"""Event, item and user tables: read, checked, split, and turned into ids, histories and user states."""
