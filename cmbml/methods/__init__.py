"""Cleaning methods, a package each: pure functions from arrays to arrays."""
