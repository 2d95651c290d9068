"""The `file` source: recordings in files, and the parsers that training shares with it.

`FileSource` is what the daemon's configuration names; `open_recording` is what other code calls.
It reads what is there and leaves the clock, the units and the frame to conditioning.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path  # noqa: TC003 - pydantic evaluates the annotation
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hard.api import Source
from hard_file.recognition import open_recording
from hard_file.recording import Options, Recording, RecordingInfo

if TYPE_CHECKING:
    from hard.api import Emit, PluginConfig, Stop

__all__ = ["FileConfig", "FileSource", "Options", "Recording", "RecordingInfo", "open_recording"]


class FileConfig(Options):
    """The options of a recording and where it is."""

    path: Annotated[Path, Field(strict=False)]
    """A CSV file, a zip or a folder."""


class FileSource(Source[FileConfig]):
    """Reads one recording from its first row to its last, as fast as `emit` takes it."""

    Config: ClassVar[type[PluginConfig]] = FileConfig

    def run(self, emit: Emit, stop: Stop) -> None:
        """Emit the recording; bad rows are skipped, a bad file raises `UnusableInput`."""
        recording = open_recording(self.config.path, self.config)
        info = recording.info
        self.log.info("%s: %s: %s", self.name, info.format, info.reason)
        if info.ignored:
            self.log.info("%s: ignored: %s", self.name, ", ".join(map(repr, info.ignored)))
        with closing(recording.messages(self.skip)) as messages:
            for message in messages:
                if stop.is_set():
                    return
                if message:
                    emit(message)
