"""The steps of the chain, one file each."""
