"""Events as lines of JSON in a file: `JsonlSink`.

It appends and never rotates, shows no state and reads nothing back.  The runtime finds it
through its entry point.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hard.api import Confirm, Event, PluginConfig, Sink, SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JsonlSink", "JsonlSinkConfig"]


class JsonlSinkConfig(PluginConfig):
    """Which file to append to."""

    path: Annotated[Path, Field(strict=False)]


class JsonlSink(Sink[JsonlSinkConfig]):
    """Events in a file, one line of JSON each, for scripts and archives.

    An event is confirmed when it is on the disk.
    """

    Config = JsonlSinkConfig

    def __init__(self, name: str, config: JsonlSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._file: int | None = None

    def open(self) -> None:
        """Open the file, make its folders, end a line that a power cut tore."""
        path = self.config.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._end_torn_line(self._file)
            _sync_folder(path.parent)
        except OSError as error:
            raise SinkUnavailable(self._trouble(error)) from error

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Append all `events` with one fsync, then confirm them."""
        if not events:
            return
        if self._file is None:
            raise SinkUnavailable("not open")
        now_ns = time.time_ns()
        lines = [json.dumps(event.delivered(now_ns), allow_nan=False) + "\n" for event in events]
        try:
            _write_all(self._file, "".join(lines).encode())
            os.fsync(self._file)
        except OSError as error:
            raise SinkUnavailable(self._trouble(error)) from error
        for event in events:
            if event.seq is not None:
                confirm(event.seq)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _end_torn_line(self, file: int) -> None:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            self.skip("torn_line", f"{str(self.config.path)!r} ended within a line: line ended")
            _write_all(file, b"\n")

    def _trouble(self, error: OSError) -> str:
        return (
            f"can't append to {str(self.config.path)!r} ({error.strerror or error}): free space or "
            "change path"
        )


def _sync_folder(folder: Path) -> None:
    # A new file's name is in its folder: without this a power cut may take the whole file.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(file: int, data: bytes) -> None:
    # On a nearly full disk a write may take only a part; the next one then says why.
    while data:
        data = data[os.write(file, data) :]
