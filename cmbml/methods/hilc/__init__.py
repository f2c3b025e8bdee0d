"""Harmonic internal linear combination."""
