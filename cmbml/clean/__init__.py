"""`cmbml clean`: maps of any instrument through one method, without the pipeline."""
