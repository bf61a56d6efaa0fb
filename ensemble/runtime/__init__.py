"""The chain as it runs inside the server: numpy, faiss, onnxruntime and the standard library alone.

Export copies this package into the model repository. It imports nothing else of ours but the files that travel with it:
`workflows.features.encoders`, and of `models` those that search, the item-item lists and the factored ranker.
"""
