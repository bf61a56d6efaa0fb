"""What the rules of slates cost."""
