"""Wiener filter of an unbiased estimate."""
