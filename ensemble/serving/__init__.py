"""Serving: a real Triton on an exported model repository, and the typed client."""
