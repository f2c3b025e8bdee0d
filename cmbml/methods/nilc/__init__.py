"""Needlet internal linear combination."""
