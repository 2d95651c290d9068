"""A recording made by `hard record` or by the daemon: what live was fed, in the same order.

`hard.recording` describes the files.  What a crash left is read up to its last whole message.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from hard.api import (
    Annotation,
    Calibrate,
    Declared,
    Evicted,
    Pause,
    Remembered,
    Renew,
    Resume,
    SampleBatch,
    Silence,
    UnusableInput,
)
from hard_file.recording import Recording, RecordingInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hard.api import Control, Message, Sensor
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["is_hard_recording", "open_hard_recording"]

HEADER = "kind,arrival,batch,sensor,declared,message,t_received_ns,t_ns,x,y,z,text"
MAX_LINE_BYTES = 64 * 1024
MAX_METADATA_BYTES = 1_000_000
_PART = re.compile(r"(.+)\.\d{4,}\.csv\.gz")
_SENSORS = {"accel", "linear_accel", "gravity", "gyro"}
_CONTROLS: dict[str, Callable[[str], Control]] = {
    "silence": Silence,
    "calibrate": Calibrate,
    "evicted": Evicted,
    "resume": Resume,
}
_BAD_ROW = (ValueError, KeyError, IndexError, OverflowError, TypeError, RecursionError)
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


def is_hard_recording(path: Path) -> bool:
    """Tell whether `path` is a session's folder, a stream's metadata or a file of its rows."""
    if path.is_dir():
        return any(_parts_of(metadata) for metadata in path.glob("*.json"))
    if path.suffix == ".json":
        return bool(_parts_of(path))
    return bool(_PART.fullmatch(path.name)) and _metadata_of(path).is_file()


def open_hard_recording(path: Path, options: Options) -> Recording:
    """Return the recording of one stream: all of it, or of a single file of rows that file.

    A session's folder must hold one stream only.  Raises `UnusableInput`.
    """
    metadata = _chosen(path) if path.is_dir() else path
    parts = _parts_of(metadata) if metadata.suffix == ".json" else [path]
    if metadata.suffix != ".json":
        metadata = _metadata_of(path)
    body = _metadata(metadata)
    stream = options.stream or str(body["stream"])
    try:
        declared = {sensor: _declared(fields) for sensor, fields in body["declared"].items()}
    except ValueError as error:
        raise UnusableInput(f"{metadata}: damaged: {error}") from error
    if not declared:
        raise UnusableInput(f"{metadata}: no samples were recorded; record again")
    model = f", for {body['model']}" if "model" in body else ""
    info = RecordingInfo(
        format="hard",
        reason=f"recorded by hard {body.get('hard')} on {body.get('host')!r} "
        f"from {body.get('start')} on{model}",
        declared=declared,
    )
    return Recording(path, stream, info, _Rows(parts, stream).messages)


def _metadata_of(part: Path) -> Path:
    match = _PART.fullmatch(part.name)
    return part.with_name(f"{match[1] if match else part.stem}.json")


def _parts_of(metadata: Path) -> list[Path]:
    return sorted(
        part
        for part in metadata.parent.glob("*.csv.gz")
        if (match := _PART.fullmatch(part.name)) and match[1] == metadata.stem
    )


def _chosen(folder: Path) -> Path:
    found = [metadata for metadata in sorted(folder.glob("*.json")) if _parts_of(metadata)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(metadata.name for metadata in found[:12]) or "none"
    raise UnusableInput(f"{folder}: name one of its streams' files instead: {names}")


def _metadata(path: Path) -> dict[str, Any]:
    """Return the checked metadata of a stream."""
    try:
        with path.open("rb") as file:
            body = json.loads(file.read(MAX_METADATA_BYTES))
    except OSError as error:
        raise UnusableInput(
            f"{path}: can't be read ({error.strerror}): it belongs to the recording, copy it too"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnusableInput(f"{path}: not the metadata of a recording: {error}") from error
    if not isinstance(body, dict) or body.get("format") != "hard-recording":
        raise UnusableInput(f"{path}: not the metadata of a recording of hard")
    if body.get("version") != 1:
        raise UnusableInput(f"{path}: its version is {body.get('version')!r}, this hard reads 1")
    if not isinstance(body.get("declared"), dict) or not set(body["declared"]) <= _SENSORS:
        raise UnusableInput(f"{path}: damaged: it does not say what is declared")
    return body


def _declared(fields: Any) -> Declared:
    """Return what a source declared; raise ValueError where the fields are not those."""
    try:
        declared = Declared(**fields)
        known = (
            declared.unit in {"m/s2", "g", "rad/s", "deg/s"}
            and declared.sign in {1, -1, None}
            and declared.clock in {"epoch", "relative", "device"}
            and math.isfinite(declared.max_delay_s + (declared.rate_hz or 0.0))
        )
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"{fields!r} does not declare samples")
    return declared


def _state(text: str) -> dict[str, Any]:
    """Return what the pipeline knew; raise ValueError or TypeError for what is no JSON object."""
    state = json.loads(text)
    if not isinstance(state, dict):
        raise TypeError(f"{text[:40]!r} is no JSON object")
    return state


@dataclass(slots=True)
class _Batch:
    """The rows of one batch, as text up to the stamp."""

    sensor: Sensor
    declared: Declared
    received_ns: int | None
    message: int | None
    t: list[int]
    x: list[tuple[float, float, float]]

    def samples(self, stream: str) -> SampleBatch:
        values = np.array(self.x, np.float64).astype(np.float32).reshape(-1, 3)
        t = np.array(self.t, np.int64)
        return SampleBatch(
            stream, self.sensor, t, values, self.declared, self.received_ns, self.message
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Reads the files of one stream, one after the other."""

    parts: list[Path]
    stream: str

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield what arrived together; what a later file tells to be read alone is left out."""
        for number, part in enumerate(self.parts):
            reader = _Part(part, self.stream, skip)
            try:
                with gzip.open(part) as file:
                    messages = reader.messages(cast("IO[bytes]", file))
                    first = next(messages, [])
                    if first and not (number and isinstance(first[0], Remembered)):
                        yield first
                    yield from messages
            except _DAMAGED as error:  # by a crash: only the end is lost
                skip("damaged_end", f"{part}: {error}: read up to there")
            except OSError as error:
                raise UnusableInput(f"{part}: can't be read: {error.strerror}") from error


class _Part:
    """The state of reading one file: its declarations, and the message under way."""

    def __init__(self, path: Path, stream: str, skip: Skip) -> None:
        self._path, self._stream, self._skip = path, stream, skip
        self._declared: dict[str, Declared] = {}
        self._head: str | None = None
        self._batch: _Batch | None = None
        self._message: list[SampleBatch | Annotation | Control] = []
        self._arrival: str | None = None

    def messages(self, file: IO[bytes]) -> Iterator[Message]:
        """Yield whole messages; the one under way is lost where the file turns out damaged."""
        lines = _lines(file)
        if next(lines, HEADER) != HEADER:
            raise UnusableInput(f"{self._path}: its first line is not {HEADER!r}")
        for number, line in enumerate(lines, 2):
            arrival = line.split(",", 2)[1] if "," in line else ""
            if arrival != self._arrival:
                yield from self._finish()
                self._arrival = arrival
            try:
                self._take(line)
            except _BAD_ROW as error:
                self._skip("bad_row", f"{self._path}: line {number}: {error!r} in {line[:80]!r}")
        yield from self._finish()

    def _finish(self) -> Iterator[Message]:
        self._close_batch()
        if self._message:
            yield self._message
        self._message = []

    def _close_batch(self) -> None:
        if self._batch is not None:
            self._message.append(self._batch.samples(self._stream))
        self._batch = self._head = None

    def _take(self, line: str) -> None:
        kind = line[: line.index(",")]
        if kind in {"sample", "batch"}:
            self._take_sample(kind, line)
            return
        self._close_batch()
        cells = next(csv.reader([line]))
        match kind:
            case "declared":
                self._declared[cells[4]] = _declared(json.loads(cells[11]))
            case "annotation":
                self._message.append(Annotation(self._stream, int(cells[7]), cells[11]))
            case "remembered":
                self._message.append(Remembered(self._stream, _state(cells[11])))
            case "pause":
                until_ns = int(cells[11]) if cells[11] else None
                self._message.append(Pause(self._stream, until_ns))
            case "renew":
                self._message.append(Renew(self._stream, _state(cells[11])))
            case _ if kind in _CONTROLS:
                self._message.append(_CONTROLS[kind](self._stream))
            case _:
                raise ValueError(f"unknown kind {kind!r}")

    def _take_sample(self, kind: str, line: str) -> None:
        head, t, x, y, z, _ = line.rsplit(",", 5)
        stamp, values = (int(t), (float(x), float(y), float(z))) if kind == "sample" else (0, None)
        if not -(2**63) <= stamp < 2**63:
            raise OverflowError("the stamp does not fit 64 bits")
        if head != self._head:
            _, _, _, sensor, declared, message, received = head.split(",")
            if sensor not in _SENSORS:
                raise ValueError(f"unknown sensor {sensor!r}")
            self._close_batch()
            self._batch = _Batch(
                cast("Sensor", sensor),
                self._declared[declared],
                int(received) if received else None,
                int(message) if message else None,
                [],
                [],
            )
            self._head = head
        if values is not None and self._batch is not None:
            self._batch.t.append(stamp)
            self._batch.x.append(values)


def _lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of what may end in the middle; `read1` gives all that can be had."""
    rest = b""
    while chunk := file.read1(MAX_LINE_BYTES):  # type: ignore[attr-defined] # of GzipFile
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        if len(rest) > MAX_LINE_BYTES:
            raise zlib.error("a line without end")
