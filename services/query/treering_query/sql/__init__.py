"""ExecuteSql: statements of users, checked by a gate and run in a process of their own."""
