"""Makes the models of `hard` and measures them: the command `hard-train`.

No part of the daemon, which never imports it.  The way from a data set to a model and its card is
drawn in `hard_training.produce`.
"""
