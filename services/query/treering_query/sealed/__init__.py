"""What is on disk: segments as Parquet files, the catalog that lists them, how both are written, checked and found damaged.

`seal_task` says when, `sealing` is the change itself, step by step. `segment_writing` and `segment_file` write a file; `catalog`,
`segment_rows`, `clock_row` and `template_rows` its rows. `check` reads everything again, `damage` looks for what a failing question met,
`inventory` is what a check compares.
"""
