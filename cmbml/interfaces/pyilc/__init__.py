"""Adapter to pyilc, the needlet ILC code of McCarthy & Hill."""
