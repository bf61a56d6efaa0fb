"""Retrieval sources beside the two towers and the item-item lists: how each is fitted, and whether it earns a place."""
