"""SearchPatterns and ScorePatterns: the nearest patterns, looked at word by word, and where relevance begins."""
