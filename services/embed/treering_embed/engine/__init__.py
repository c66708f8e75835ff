"""The model and the index together, which of both to take, and vectors made of patterns."""
