"""Detector noise."""
