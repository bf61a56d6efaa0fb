"""What live events are worth: the chain with and without features of them, replayed over the test split."""
