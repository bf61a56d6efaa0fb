"""Live events around the served chain: what export writes for them, and the commands."""
