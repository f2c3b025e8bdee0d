"""What has been made: facts, the memo of this machine, locks, cost, and the commit it belongs to."""
