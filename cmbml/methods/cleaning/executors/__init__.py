"""`cmbml clean`: what is asked for, the maps of the bands, and the cleaning."""
