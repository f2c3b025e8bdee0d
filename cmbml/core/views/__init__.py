"""Finished data as a user looks at them: the dataset, its status, where a file comes from."""
