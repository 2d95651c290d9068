"""Events as lines of JSON on stdout: `StdoutSink`, for pipes, trials and the journal.

It shows no state and keeps nothing.  The runtime finds it through its entry point.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from hard.api import Confirm, Event, PluginConfig, Sink, SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["StdoutSink", "StdoutSinkConfig"]


class StdoutSinkConfig(PluginConfig):
    """Nothing to set."""


class StdoutSink(Sink[StdoutSinkConfig]):
    """Events on the standard output, one line of JSON each, for pipes and the journal.

    An event is confirmed when it is flushed.
    """

    Config = StdoutSinkConfig

    def open(self) -> None:
        """Do nothing: stdout is there from the start."""

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Print and flush; raise `SinkUnavailable` when nobody reads any more.

        A pipe that broke stays broken, but that is no bug of ours and no reason to end: the
        other sinks go on, the events stay in the log.
        """
        now_ns = time.time_ns()
        try:
            for event in events:
                sys.stdout.write(json.dumps(event.delivered(now_ns), allow_nan=False) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:  # ValueError: stdout was closed in this process
            raise SinkUnavailable(
                f"can't write to stdout ({error}): does its reader live?"
            ) from error
        for event in events:
            if event.seq is not None:
                confirm(event.seq)

    def close(self) -> None:
        """Do nothing: stdout belongs to the process."""
