"""What all networks share: HEALPix layers, training, prediction, checkpoints."""
