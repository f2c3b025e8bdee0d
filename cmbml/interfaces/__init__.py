"""Programs of others, as methods."""
