"""What users did with logged slates: events joined with them, and live quality."""
