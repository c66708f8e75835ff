"""What is visible at one moment, hot and sealed together, and how questions are run on it."""
