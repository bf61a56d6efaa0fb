"""Speed of live events: how fast they go in."""
