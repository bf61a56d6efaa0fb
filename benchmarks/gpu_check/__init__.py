"""Correctness and speed of serving on a GPU, in one call on a bare machine: scripts/gpu_check.sh.

Python 3.12, NumPy and CuPy are all that it needs: it imports nothing of Cascade but the runtime. What else is there is
used: pytest, ONNX Runtime and PyTorch.
"""
