"""Preprocessing speed: the features stage beside stock NVTabular and the same transforms in pandas and in Polars."""
