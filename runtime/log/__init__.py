"""The request log: what a sampled request asked and got, in checked frames that a collector turns into tables."""
