"""What every training shares: prefetched batches, optimizer, processes, refits."""
