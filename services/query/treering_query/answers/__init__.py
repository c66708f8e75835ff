"""Answers of one message: aggregates, context, digests, the status, the check of the store."""
