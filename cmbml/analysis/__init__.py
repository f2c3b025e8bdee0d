"""Post-processing, scores, figures and the report: pure functions from arrays to arrays."""
