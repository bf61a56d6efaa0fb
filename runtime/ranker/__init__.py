"""The ranker's arithmetic."""
