"""hard_mqtt."""
