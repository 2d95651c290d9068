"""Events as lines of JSON in a file: `JsonlSink`.

How the file is kept, rotated and bounded stands in `hard_delivery.lines`.  It shows no state and
reads nothing back.  The runtime finds it through its entry point.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from hard.api import Confirm, Event, Sink
from hard_delivery.lines import FilePath, LineFile, RotationConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JsonlSink", "JsonlSinkConfig"]


class JsonlSinkConfig(RotationConfig):
    """Which file to append to, and how much is kept."""

    path: FilePath


class JsonlSink(Sink[JsonlSinkConfig]):
    """Events in a file, one line of JSON each, for scripts and archives.

    An event is confirmed when it is on the disk.
    """

    Config = JsonlSinkConfig

    def __init__(self, name: str, config: JsonlSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._file = LineFile(config.path, config, self.skip)

    def open(self) -> None:
        """Open the file, make its folders, end a line that a power cut tore."""
        self._file.open()

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Append all `events` with one fsync, then confirm them."""
        if not events:
            return
        now_ns = time.time_ns()
        lines = [json.dumps(event.delivered(now_ns), allow_nan=False) + "\n" for event in events]
        self._file.append("".join(lines).encode())
        for event in events:
            if event.seq is not None:
                confirm(event.seq)

    def check(self) -> None:
        """Follow a file that was moved, rotate at midnight, compress a piece of what is full."""
        self._file.tend()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
