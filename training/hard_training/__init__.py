"""hard_training."""
