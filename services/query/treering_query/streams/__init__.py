"""Answers without a near end: tails, watches and exports."""
