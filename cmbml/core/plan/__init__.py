"""What is to be made: pieces, what they read, and the fingerprint that each must have."""
