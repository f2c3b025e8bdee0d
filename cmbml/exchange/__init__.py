"""What enters and leaves the repository: science assets, published datasets, imports and exports."""
