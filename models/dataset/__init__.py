"""What models read: encoded features, events by split, and what is known of each user."""
