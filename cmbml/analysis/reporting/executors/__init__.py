"""The report of a finished dataset: its numbers, its index, and a page for every method and split."""
