"""What has been made: facts, locks, cost, and the commit it belongs to."""
