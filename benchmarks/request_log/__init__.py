"""What the request log costs, and whether what it holds is answered again."""
