"""hard_simulator."""
