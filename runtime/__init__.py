"""The chain as it runs inside the server: numpy, faiss, onnxruntime and the standard library alone.

Export copies this package, whole, into the model repository. It imports nothing else of ours.
"""
