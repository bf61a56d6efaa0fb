"""The FAISS index over the item embeddings: exact or IVF, chosen by measured recall."""
