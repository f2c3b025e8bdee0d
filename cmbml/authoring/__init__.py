"""What helps those who add to the repository: new methods, schemas for editors, completion for shells."""
