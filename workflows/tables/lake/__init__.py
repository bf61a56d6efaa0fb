"""Delta and Iceberg tables: folders whose own log says which rows count, read as Parquet files."""
