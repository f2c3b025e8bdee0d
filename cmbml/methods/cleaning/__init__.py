"""Any maps through any method, without the pipeline."""
