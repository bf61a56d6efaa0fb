"""The layout `merlin` and what is stock in it, exported and patched in a process of its own."""
