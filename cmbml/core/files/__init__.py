"""Assets and the checksums of files."""
