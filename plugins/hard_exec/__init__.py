"""Events to a program's standard input: `ExecSink`, for whatever no plugin speaks.

The sink's thread starts the program, writes and closes; one thread more, "NAME output", reads what
the program says, for as long as the program lives.  No shell is involved.  The runtime finds the
sink through its entry point.
"""

from __future__ import annotations

from hard_exec.sink import ExecSink, ExecSinkConfig

__all__ = ["ExecSink", "ExecSinkConfig"]
