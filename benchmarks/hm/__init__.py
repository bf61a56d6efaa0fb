"""Made-up tables of the schema of the H&M fashion data."""
