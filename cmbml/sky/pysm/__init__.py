"""Foregrounds from the templates of PySM 3."""
