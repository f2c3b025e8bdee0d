"""The report: self-contained pages from finished data."""
