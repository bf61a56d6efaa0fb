"""Whether the signals find what they should, and nothing else."""
