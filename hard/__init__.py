"""hard: Human Activity Recognition Daemon.

Motion sensors in, trustworthy activity events out.  The README draws the pipe; `hard.pipeline`
is its code, `hard.api` is what a plugin may import.
"""
