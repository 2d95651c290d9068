"""hard_stdout."""
