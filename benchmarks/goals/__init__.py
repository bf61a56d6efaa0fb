"""What slates in the order of what they earn are worth, on the simulated shop."""
