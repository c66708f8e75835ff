"""The typed SDK."""
