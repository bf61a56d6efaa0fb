"""Stage 1: raw tables -> checked, split, encoded and tagged features."""
