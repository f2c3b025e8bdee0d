"""Executors of analysis."""
