"""Speed of slates in a cache: building them, following events, reading them."""
