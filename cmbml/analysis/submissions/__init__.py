"""Maps that were made elsewhere."""
