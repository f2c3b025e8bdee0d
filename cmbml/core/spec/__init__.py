"""What describes a dataset: parameters, pipeline, splits, names of files."""
