"""Off-policy evaluation: what a policy would have earned, from the slates that another one drew and was paid for."""
