"""How often the gate says what it should, on simulated candidates."""
