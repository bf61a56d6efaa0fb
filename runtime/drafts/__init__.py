"""The Triton model that drafts one slate of the slates of two versions."""
