"""The item-item source: which items speak for which, and how its score is merged with the two towers'."""
