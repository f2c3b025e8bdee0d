"""A network that keeps the CMB whole by construction: it sees only differences of bands."""
