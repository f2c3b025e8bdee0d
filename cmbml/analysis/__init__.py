"""Post-processing, scores, spectra, tables and charts: pure functions from arrays to arrays."""
