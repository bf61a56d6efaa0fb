"""Why an item is in a slate, and why not: one answer of the served chain, step by step."""
