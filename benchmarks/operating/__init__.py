"""All of operations side by side for a long time: what leaks, is lost, or is wrong."""
