"""How the item embeddings are searched: exact, IVF, IVF-PQ or HNSW, chosen by measurement with the filters on."""
