"""What another policy would have earned from the slates that were logged."""
