"""What the stages of all networks share: samples behind asset references, and training with its files."""
