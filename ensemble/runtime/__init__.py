"""The chain as it runs inside the server: numpy, faiss, onnxruntime and the standard library alone.

Export copies this package into the model repository. It imports nothing else of ours but the files that travel with it:
`workflows.features.encoders`, `models.neighbours.lists`, `models.ranking.pairs` and `models.ranking.factored`.
"""
