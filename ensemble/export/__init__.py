"""Artefacts of a run -> a compiled chain -> a Triton model repository."""
