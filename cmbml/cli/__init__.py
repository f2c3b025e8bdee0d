"""The command line."""

from cmbml.cli.entry import main

__all__ = ["main"]
