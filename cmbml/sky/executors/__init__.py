"""Stages that simulate the sky and its observation."""
