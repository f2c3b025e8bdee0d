"""Executors, and the sealed view of the parameters that they get."""
