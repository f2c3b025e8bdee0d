"""Real maps."""
