"""Live events: one log, one fold into small records, and what the chain asks of them."""
