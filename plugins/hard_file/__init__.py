"""The `file` source: recordings in files, and the parsers that training shares with it.

`FileSource` is what the daemon's configuration names; `open_recording` is what other code calls.
It reads what is there and leaves the clock, the units and the frame to conditioning.
"""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path  # noqa: TC003 - pydantic evaluates the annotation
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from hard.api import Source, Stage, UnusableInput
from hard_file.recognition import open_recording
from hard_file.recording import Options, Recording, RecordingInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hard.api import Emit, PluginConfig, Stop

__all__ = ["FileConfig", "FileSource", "Options", "Recording", "RecordingInfo", "open_recording"]


class FileConfig(Options):
    """The options of a recording and where it is."""

    path: Annotated[Path, Field(strict=False)]
    """A file, a zip or a folder of one of the formats."""


class FileSource(Source[FileConfig]):
    """A recording in a file, zip or folder: CSV, exports of phone apps, public data sets, dumps.

    It is read from its first row to its last, as fast as `emit` takes it.
    """

    Config: ClassVar[type[PluginConfig]] = FileConfig

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Say which format the recording has and why, and what of it is left aside."""
        del timeout_s
        try:
            info = open_recording(self.config.path, self.config).info
        except UnusableInput as error:
            yield Stage("format", ok=False, detail=str(error))
            return
        yield Stage("format", ok=True, detail=f"{info.format}: {info.reason}")
        if info.ignored:
            yield Stage("ignored", ok=True, detail=f"ignored: {', '.join(map(repr, info.ignored))}")

    def unused(self) -> Iterator[tuple[str, str]]:
        """Yield (key, why) of each option that is given and changes nothing of what is read.

        Nothing where the recording can't be opened: `run` says why.
        """
        given = self.config.model_fields_set & set(_OTHERWISE)
        info = self._opened({}) if given else None
        if info is None:
            return
        for key in sorted(given):
            others, why = _OTHERWISE[key]
            if all(self._opened({key: other}) == info for other in others):
                yield key, f"the recording is {info.format}, {why}"

    def _opened(self, otherwise: Mapping[str, str | None]) -> RecordingInfo | None:
        with suppress(UnusableInput):
            options = self.config.model_copy(update=otherwise)
            return open_recording(self.config.path, options).info
        return None

    def run(self, emit: Emit, stop: Stop) -> None:
        """Emit the recording; bad rows are skipped, a bad file raises `UnusableInput`."""

        def look() -> None:
            if stop.is_set():
                raise _Stopped

        def skip(reason: str, detail: str) -> None:
            self.skip(reason, detail)
            look()  # bad rows may go on for minutes before the next message

        with suppress(_Stopped):
            recording = open_recording(self.config.path, self.config, look)
            info = recording.info
            self.log.info("%s: %s: %s", self.name, info.format, info.reason)
            if info.ignored:
                self.log.info("%s: ignored: %s", self.name, ", ".join(map(repr, info.ignored)))
            with closing(recording.messages(skip)) as messages:
                for message in messages:
                    look()
                    if message:
                        emit(message)


_OTHERWISE: Final[Mapping[str, tuple[tuple[str | None, ...], str]]] = {
    "rate_hz": ((None,), "which has stamps or a rate of its own"),
    "accel_unit": (("m/s2", "g"), "whose unit is known"),
    "gyro_unit": (("rad/s", "deg/s"), "whose unit is known, or which has no gyroscope"),
    "platform": (("ios", "android"), "whose sign is known"),
    "start": ((None,), "which has its date"),
}
"""Option -> values, one of which would read otherwise any recording that needs it; else why."""


class _Stopped(Exception):  # noqa: N818 - not an error
    """Told to stop: before a message, within a stretch of bad rows or a file's first look."""
