"""The heavy steps of a chain on a GPU, through CuPy: retrieval, the ranker and the order of a batch of users."""
