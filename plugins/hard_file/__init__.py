"""hard_file."""
