"""Quality in numbers: ranking metrics of slates with bootstrap intervals, and classification metrics of the ranker."""
