"""Training, joined to files: samples, states, checkpoints, curves."""
