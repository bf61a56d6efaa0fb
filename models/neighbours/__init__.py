"""The item-item source: which items contribute to the scores of which, and how these merge with the towers'."""
