"""What has been made: manifests, journals, locks, cost, and the commit it belongs to."""
