"""Which patterns are known, and how far each is in each index: SQLite, and what is kept in memory of it."""
