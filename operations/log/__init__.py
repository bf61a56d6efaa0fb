"""The request log once it is collected: MON, a folder of Parquet."""
