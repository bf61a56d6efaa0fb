"""What a slate of two versions costs."""
