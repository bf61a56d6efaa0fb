"""Training speed: our loops beside one cached batch and the same networks in plain PyTorch; cost by vocabulary."""
