"""Retrieval sources as the server runs them, one file each; `runtime.steps.merge` makes one list of what they find."""
