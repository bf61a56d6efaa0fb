"""Tables from a warehouse: a URL and a table or query each, read as Parquet files."""
