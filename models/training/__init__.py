"""What every training shares: batches ahead, optimizer, processes, refits."""
