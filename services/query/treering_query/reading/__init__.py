"""What questions share: filters as conditions, the order in which the store is read, records as messages, sizes and tokens of pages."""
