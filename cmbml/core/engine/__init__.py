"""Makes pieces, checks before it runs, and speaks to DVC and the console."""
