"""How often experiments are decided, rightly and wrongly, on simulated users."""
