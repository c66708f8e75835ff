"""What every room speaks in: schemas, ids, conditions, segments. Values without I/O; imports no other room."""
