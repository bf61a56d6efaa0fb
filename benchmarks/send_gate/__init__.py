"""The send gate in the simulated shop, beside what knows the truth."""
