"""The same chain in Merlin Systems' own operators: what Cascade is compared with."""
