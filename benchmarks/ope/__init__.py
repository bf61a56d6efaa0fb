"""Off-policy estimates of the simulated shop, beside what the policies are really worth there."""
