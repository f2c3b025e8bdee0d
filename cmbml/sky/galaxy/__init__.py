"""The procedural Milky Way."""
