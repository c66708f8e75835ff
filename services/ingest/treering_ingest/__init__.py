"""treering."""
