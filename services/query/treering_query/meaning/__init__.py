"""Similarity in meaning: the client of the embed service, and the scores of patterns for texts."""
