"""Stage 2: features -> two towers, item embeddings, FAISS index, DLRM ranker, baselines and metrics."""
