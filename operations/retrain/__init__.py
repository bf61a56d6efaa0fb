"""Retraining: runs that follow each other in a folder, each gated and then released or held."""
