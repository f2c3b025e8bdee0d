"""cmbNNCS: a U-Net on the sphere laid out in a plane (Wang et al. 2022, arXiv:2204.01820)."""
