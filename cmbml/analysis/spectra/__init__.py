"""Power spectra on a masked sky, with the mask's mode coupling undone in bands."""
