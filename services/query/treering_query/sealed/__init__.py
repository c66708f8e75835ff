"""What is on disk: segments as Parquet files, the catalog that lists them, how both are written, checked and found damaged."""
