"""The search among item embeddings."""
