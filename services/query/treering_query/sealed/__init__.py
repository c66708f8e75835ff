"""What is sealed: segments as Parquet files, the catalog that lists them, how both are written, checked and found damaged.

`seal_task` says when, `sealing` is the change itself, step by step. It needs two things, which `opening` chooses: a `segment_store`, where
the objects of segments are, and a `catalog`. On this machine these are `local_segments`, a directory, and `duckdb_catalog`, a file
(`duckdb_file`) with the rows of `segment_rows`, `clock_row` and `template_rows`. `segment_writing` makes the two objects of a segment:
`segment_file` its records, `segment_statistics` their statistics. `check` reads everything again, `damage` looks for what a failing
question met, `inventory` is what a check compares.
"""
