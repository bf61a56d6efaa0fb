"""Features: NVTabular workflows fitted on train, the encoded tables, and the workflows compiled for serving."""
