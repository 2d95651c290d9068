"""What comes in, written as it came: raw units and stamps, order of arrival, labels, silences.

    FOLDER/20240501T093000Z/          a session: one run of the daemon or of `hard record`
        phone-1.json                  of a stream: version, host, start, model, what is declared
        phone-1.0001.csv.gz           its rows; a new file by size and by time
        phone-1.0002.csv.gz

Columns (`COLUMNS`; what does not apply to a kind is empty):

    kind           sample, batch (one without samples), annotation, silence, calibrate, evicted,
                   pause, resume, renew (model or settings changed), declared, remembered
    arrival        running number of what was fed to the pipeline: equal numbers came together
    batch          number of the batch within it
    sensor         accel, linear_accel, gravity, gyro
    declared       number of the row of kind `declared` (earlier in the same file) that holds
                   unit, sign, delay, clock and rate as JSON in `text`
    message        the sender's running number
    t_received_ns  when it arrived, ns since the epoch, where the source says so
    t_ns           the source's own stamp, of an annotation the label's begin; ns
    x, y, z        the source's own values: nine digits give the float32 back
    text           of an annotation: the label from t_ns on, "" for none; of kind `pause`: until
                   when it is meant, ns, "" for no end; of kind `renew`: model and settings from
                   here on, as in the metadata, JSON; of kind `remembered`: what the pipeline knew
                   of the stream before the next row, JSON (which way was up, since when a
                   calibration waited, until when it was paused)

Replaying it gives what live gave, byte for byte (`hard_file.hard_recording` reads it).  Each file
begins with what was declared and remembered by then, so that it can be replayed alone.  Rows are
written about every 10 s as a gzip member of their own, so that a crash costs what was not yet
written and nothing before it.  A disk that can't be written costs the rows of that time, counted;
a folder that somebody removes is made again.

`Recorder` is called by `hard.runtime`; `hard record` runs one without a pipeline (`Unrecognised`).
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import logging
import os
import platform
import queue
import re
import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

from hard.api import (
    NS_PER_S,
    Annotation,
    Calibrate,
    Control,
    Declared,
    Event,
    Evicted,
    Message,
    Pause,
    Remembered,
    Renew,
    Resume,
    SampleBatch,
    Silence,
    StreamState,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from io import FileIO
    from pathlib import Path

__all__ = [
    "COLUMNS",
    "FORMAT",
    "VERSION",
    "Limits",
    "Recorder",
    "Unrecognised",
    "files_of",
    "is_of_session",
    "recordings_in",
    "remove_files",
]

FORMAT = "hard-recording"
VERSION = 1
COLUMNS = (
    "kind",
    "arrival",
    "batch",
    "sensor",
    "declared",
    "message",
    "t_received_ns",
    "t_ns",
    "x",
    "y",
    "z",
    "text",
)
MAX_TEXT = 200
"""Longer labels are cut, and counted."""
MAX_STREAMS = 1000
MAX_HELD_LABELS = 1000
"""So many labels wait for the first sample of their streams; the oldest make room, counted."""
MAX_WAITING_SAMPLES = 1_000_000
"""What the disk may lag behind; beyond it messages are dropped and counted."""
FLUSH_S = 10.0
FLUSH_CHARS = 1_000_000
_SESSION = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_PART = re.compile(r"[A-Za-z0-9_-]{1,64}\.\d{4,}\.csv\.gz")

_Known: TypeAlias = "Mapping[str, Mapping[str, Any]]"
_Item: TypeAlias = SampleBatch | Annotation | Control
_WORDS: dict[type[Control], str] = {
    Silence: "silence",
    Calibrate: "calibrate",
    Evicted: "evicted",
    Resume: "resume",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Forgetting:
    """Asked of the recorder's thread: a stream to forget, and where to say that it is done."""

    stream: str
    done: threading.Event


@dataclass(frozen=True, slots=True)
class Limits:
    """What is recorded and how much of it is kept.

    `streams` are globs.  A file is followed by another one after `part_bytes` or `part_s`; while
    all sessions in the folder hold more than `max_bytes`, the oldest file is removed.  A disk that
    could not be written is left alone for `retry_s`.
    """

    streams: Sequence[str] = ("*",)
    max_bytes: int = 1_000_000_000
    part_bytes: int = 16_000_000
    part_s: float = 3600.0
    retry_s: float = 30.0


class Recorder:
    """Writes what it is given into a new session folder below `folder`, in a thread of its own.

    `about(stream)` gives what else the metadata of a stream shall say (its model, say).  `counts`
    tells what was dropped, removed or went wrong.  Nothing is created before the first message.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        about: Callable[[str], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._limits = limits
        self._shelf = _Shelf(folder, limits.max_bytes, self.counts)
        self._about = about
        self._streams: dict[str, _Stream] = {}
        self._held: deque[Annotation] = deque()  # of streams that have sent nothing (yet)
        self._queue: queue.SimpleQueue[tuple[Message, _Known] | _Forgetting | None]
        self._queue = queue.SimpleQueue()
        # Two numbers with one writer each instead of one with a lock.
        self._taken = self._written = 0
        self._retry_s = 0.0
        self._state = "ready"
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._state = "running"
        self._thread.start()

    def wants(self, stream: str) -> bool:
        """Tell whether this stream is recorded."""
        return any(fnmatchcase(stream, pattern) for pattern in self._limits.streams)

    def take(self, message: Message, known: _Known | None = None) -> None:
        """Take in what the pipeline is about to be fed; never blocks; from one thread only.

        `known` says of each stream in it what the pipeline knows by now (`Pipeline.memory`).
        """
        size = _size(message)
        if self._state == "failed" or self._taken - self._written + size > MAX_WAITING_SAMPLES:
            if not self.counts["dropped_messages"]:
                _log.warning("recording: the disk is behind, messages are dropped (said once)")
            self.counts["dropped_messages"] += 1
            return
        self._taken += size
        self._queue.put((message, known or {}))

    def forget(self, stream: str, timeout_s: float) -> bool:
        """Leave what waits to be written of a stream, and remove its files of all sessions.

        Returns whether that was done within `timeout_s`.
        """
        done = threading.Event()
        self._queue.put(_Forgetting(stream, done))
        return done.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Write the rest within `timeout_s`; return whether that was done."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        return self._state == "ended"

    def status(self) -> dict[str, Any]:
        """Return where and how much was written, as JSON values; from any thread."""
        return {
            "state": self._state,
            "session": None if self._shelf.session is None else str(self._shelf.session),
            "bytes": self._shelf.written,
            "waiting_samples": self._taken - self._written,
        }

    def _run(self) -> None:
        try:
            self._write_all()
        except Exception:  # noqa: BLE001 - a bug here must not end the daemon, nor go unseen
            self._state = "failed"
            self.counts["bugs"] += 1
            _log.exception("recording: a bug: nothing more is recorded")
            return
        self._state = "ended"

    def _write_all(self) -> None:
        due_s = time.monotonic() + FLUSH_S
        going = True
        while going:
            try:
                taken = self._queue.get(timeout=max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                taken = ((), {})
            going = taken is not None
            if isinstance(taken, _Forgetting):
                self._forget(taken)
            elif taken:
                self._write(*taken)
                self._written += _size(taken[0]) if taken[0] else 0
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + FLUSH_S
                for stream in self._streams.values():
                    self._flush(stream)
        if self._held:
            self.counts["labels_without_samples"] += len(self._held)
        for stream in self._streams.values():
            self._flush(stream)
            self._finish(stream)

    def _forget(self, order: _Forgetting) -> None:
        self._streams.pop(order.stream, None)
        remove_files(self._shelf.folder, order.stream)
        order.done.set()

    def _write(self, message: Message, known: _Known) -> None:
        for name in dict.fromkeys(item.stream for item in message):
            if not self.wants(name):
                continue
            items = [self._bounded(item) for item in message if item.stream == name]
            stream = self._streams.get(name)
            if stream is None:
                labels = [item for item in items if isinstance(item, Annotation)]
                if len(labels) == len(items):  # anybody can label what nobody sends
                    self._hold(labels)
                    continue
                stream = self._begin(name)
            if stream is not None:
                self._write_held(stream, known.get(name) or {})
                stream.write(items, known.get(name) or {})
                if stream.chars >= FLUSH_CHARS:
                    self._flush(stream)

    def _hold(self, labels: list[Annotation]) -> None:
        """Keep labels until their stream sends."""
        self._held.extend(labels)
        while len(self._held) > MAX_HELD_LABELS:
            self._held.popleft()
            self.counts["labels_without_samples"] += 1

    def _write_held(self, stream: _Stream, known: Mapping[str, Any]) -> None:
        """Let the labels that waited for a stream stand before its first samples."""
        labels = [label for label in self._held if label.stream == stream.name]
        if labels:
            self._held = deque(label for label in self._held if label.stream != stream.name)
            stream.write(labels, known)

    def _begin(self, name: str) -> _Stream | None:
        if len(self._streams) >= MAX_STREAMS:
            self.counts["too_many_streams"] += 1
            return None
        stream = self._streams[name] = _Stream(name, self._about(name))
        return stream

    def _bounded(self, item: _Item) -> _Item:
        """Return an item of a message, a label that is too long cut."""
        if not isinstance(item, Annotation) or len(item.text) <= MAX_TEXT:
            return item
        if not self.counts["cut_labels"]:
            _log.warning(
                "recording: the label %r… of %r is cut after %d characters (said once, counted as "
                "record.cut_labels)",
                *(item.text[:30], item.stream, MAX_TEXT),
            )
        self.counts["cut_labels"] += 1
        return replace(item, text=item.text[:MAX_TEXT])

    def _flush(self, stream: _Stream) -> None:
        """Write what is waiting as one gzip member; what can't be written is lost, counted."""
        if not stream.chars:
            return
        chunk = stream.drain()
        try:
            if time.monotonic() < self._retry_s:
                self._lose(stream, chunk)
                return
            try:
                self._append(stream, chunk)
            except FileNotFoundError as error:
                self._begin_again(stream, error)
                self._append(stream, chunk)
        except OSError as error:
            self._fail(error)
            self._lose(stream, chunk)
            return
        self._is_back()
        assert stream.part is not None
        age_s = time.monotonic() - stream.part_began_s
        if age_s >= self._limits.part_s or self._shelf.is_full(
            stream.part, self._limits.part_bytes
        ):
            stream.begin_part()

    def _append(self, stream: _Stream, chunk: _Chunk) -> None:
        """Write a chunk to the stream's file, or begin one with it, with metadata beside."""
        part, rows = stream.part, chunk.rows
        if part is None:
            part = self._shelf.path(f"{stream.file_name}.{stream.parts + 1:04d}.csv.gz")
            self._describe(stream)
            rows = chunk.opening + rows
        member = gzip.compress(rows.encode(errors="replace"), compresslevel=6, mtime=0)
        self._shelf.append(part, member, {part, *(s.part for s in self._streams.values())})
        if stream.part is None:
            stream.part, stream.parts = part, stream.parts + 1

    def _begin_again(self, stream: _Stream, error: FileNotFoundError) -> None:
        """Leave a file, or the whole folder, that was removed while it was written."""
        if not self.counts["removed_by_others"]:
            _log.warning("recording: %s: removed while it was written, it is begun again", error)
        self.counts["removed_by_others"] += 1
        gone = self._streams.values() if self._shelf.is_gone() else [stream]
        for each in gone:
            each.begin_part()

    def _lose(self, stream: _Stream, chunk: _Chunk) -> None:
        """Count what is not written; what follows tells anew what it needs, in another file."""
        self.counts["lost_messages"] += chunk.messages
        stream.begin_part()
        if not stream.parts:
            self._shelf.forget(f"{stream.file_name}.json")

    def _fail(self, error: OSError) -> None:
        """Leave the disk alone for a while; say so at the first failure."""
        self.counts["write_errors"] += 1
        self._retry_s = time.monotonic() + self._limits.retry_s
        if self._state == "running":
            self._state = "failing"
            _log.warning(
                "recording in %s: %s: nothing is recorded until that is mended (tried every %g s, "
                "counted as record.write_errors and record.lost_messages)",
                *(self._shelf.folder, error, self._limits.retry_s),
            )

    def _is_back(self) -> None:
        if self._state == "failing":
            self._state = "running"
            lost = self.counts["lost_messages"]
            _log.warning("recording: goes on, %d messages were lost so far", lost)

    def _finish(self, stream: _Stream) -> None:
        """Say in the metadata of a stream that has files that it ended."""
        try:
            if stream.parts and not self._shelf.is_gone():
                self._describe(stream, ended=True)
        except OSError as error:
            self._fail(error)

    def _describe(self, stream: _Stream, *, ended: bool = False) -> None:
        """Write the metadata of a stream beside its files, whole or not at all; raises OSError."""
        body = {
            "format": FORMAT,
            "version": VERSION,
            "stream": stream.name,
            **self._shelf.about(),
            **stream.about,
            "columns": COLUMNS,
            "declared": stream.first_declared,
            "end": rfc3339(time.time_ns()) if ended else None,
            "messages": stream.arrivals,
            "counts": dict(self.counts),
        }
        path = self._shelf.path(f"{stream.file_name}.json")
        aside = path.with_suffix(".json.part")
        try:
            aside.write_text(json.dumps(body, indent=1) + "\n", "utf-8")
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise


def _size(message: Message) -> int:
    return 1 + sum(len(item) for item in message if isinstance(item, SampleBatch))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows written at once, of so many messages, and what must stand before them in a new file."""

    opening: str
    rows: str
    messages: int


class _Stream:
    """The rows of one stream that are not yet written, and the file they belong to."""

    def __init__(self, name: str, about: Mapping[str, Any]) -> None:
        self.name, self.about = name, about
        self.file_name = _file_name(name)
        self.parts = 0
        self.arrivals = self._drained = 0
        self.first_declared: dict[str, dict[str, Any]] = {}
        self.begin_part()
        self._opening = ""
        self._rows: list[str] = []
        self.chars = 0

    def begin_part(self) -> None:
        """Let the next rows begin another file, which tells anew what is declared."""
        self.part: Path | None = None
        self.part_began_s = time.monotonic()
        self._declared: dict[Declared, int] = {}

    def drain(self) -> _Chunk:
        """Return the waiting rows."""
        chunk = _Chunk(self._opening, "".join(self._rows), self.arrivals - self._drained)
        self._rows.clear()
        self.chars, self._drained = 0, self.arrivals
        return chunk

    def write(self, message: Message, known: Mapping[str, Any]) -> None:
        """Add the rows of what arrived together, when the pipeline knew what is `known`."""
        if not self._rows:
            self._opening = self._open(known)
        self.arrivals += 1
        for number, item in enumerate(message):
            match item:
                case SampleBatch():
                    self._add_batch(number, item)
                case Annotation():
                    self._add(f"annotation,{self.arrivals},,,,,,{item.t},,,,{_cell(item.text)}\n")
                case Remembered():
                    self._add(self._remembered(item.state))
                case Pause():
                    until = "" if item.until_ns is None else item.until_ns
                    self._add(f"pause,{self.arrivals},,,,,,,,,,{until}\n")
                case Renew():
                    about = _cell(json.dumps(dict(item.about)))
                    self._add(f"renew,{self.arrivals},,,,,,,,,,{about}\n")
                case _:
                    self._add(f"{_WORDS[type(item)]},{self.arrivals},,,,,,,,,,\n")

    def _open(self, known: Mapping[str, Any]) -> str:
        """Return what a file begins with whose first message is the next one."""
        declared = [self._declaration(body, number) for body, number in self._declared.items()]
        remembered = [self._remembered(known)] if known else []
        return "".join([",".join(COLUMNS) + "\n", *remembered, *declared])

    def _remembered(self, state: Mapping[str, Any]) -> str:
        return f"remembered,{self.arrivals},,,,,,,,,,{_cell(json.dumps(dict(state)))}\n"

    def _declaration(self, declared: Declared, number: int) -> str:
        body = _cell(json.dumps(asdict(declared)))
        return f"declared,{self.arrivals},,,{number},,,,,,,{body}\n"

    def _add(self, text: str) -> None:
        self._rows.append(text)
        self.chars += len(text)

    def _add_batch(self, number: int, batch: SampleBatch) -> None:
        declared = self._declared.get(batch.declared)
        if declared is None:
            declared = self._declared[batch.declared] = len(self._declared)
            self.first_declared.setdefault(batch.sensor, asdict(batch.declared))
            self._add(self._declaration(batch.declared, declared))
        received, message = _or_empty(batch.t_received_ns), _or_empty(batch.message_id)
        head = f"{self.arrivals},{number},{batch.sensor},{declared},{message},{received}"
        if not len(batch):
            self._add(f"batch,{head},,,,,\n")
            return
        rows = zip(batch.t.tolist(), batch.values.tolist(), strict=True)
        self._add(
            "".join([f"sample,{head},{t},{x:.9g},{y:.9g},{z:.9g},\n" for t, (x, y, z) in rows])
        )


def _or_empty(number: int | None) -> str:
    return "" if number is None else str(number)


def _cell(text: str) -> str:
    """Return a text of one line as a CSV cell."""
    line = " ".join(text.split())
    return '"' + line.replace('"', '""') + '"'


def _file_name(stream: str) -> str:
    """Return a name that can't lead anywhere else; with a hash where it had to be changed."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", stream):
        return stream
    digest = blake2b(stream.encode(errors="replace"), digest_size=3).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stream)[:57]}-{digest}"


class _Shelf:
    """The folder of all sessions: makes this session's, appends to files, removes the oldest."""

    def __init__(self, folder: Path, max_bytes: int, counts: Counter[str]) -> None:
        self.session: Path | None = None
        self.written = 0
        self.folder = folder
        self._max_bytes = max_bytes
        self._counts = counts
        self._start_ns = time.time_ns()
        self._sizes: dict[Path, int] = {}  # the oldest first
        self._total = 0

    def about(self) -> dict[str, Any]:
        """Return what the metadata say of the session."""
        return {
            "session": None if self.session is None else self.session.name,
            "start": rfc3339(self._start_ns),
            "start_ns": self._start_ns,
            "host": platform.node(),
            "hard": version("hard-daemon"),
        }

    def path(self, name: str) -> Path:
        """Return the path of a file of this session, whose folder is made with the first."""
        return (self.session or self._begin()) / name

    def is_gone(self) -> bool:
        """Tell whether this session's folder was removed; the next path makes it again."""
        if self.session is None or self.session.is_dir():
            return False
        self.session = None
        return True

    def append(self, path: Path, data: bytes, current: Collection[Path | None]) -> None:
        """Append to a file; while there is too much remove the oldest that is not `current`.

        Raises FileNotFoundError where the file or its folder was removed or changed by others,
        another OSError where it can't be written: then it is as before.
        """
        size = self._sizes.get(path, 0)
        if size:
            _extend(path, size, data)
        else:
            _create(path, data)
        self.written += len(data)
        self._sizes[path] = size + len(data)
        self._total += len(data)
        for oldest in list(self._sizes) if self._total > self._max_bytes else []:
            if self._total > self._max_bytes and oldest not in current:
                self._total -= self._sizes.pop(oldest)
                self._remove(oldest)

    def is_full(self, path: Path, part_bytes: int) -> bool:
        """Tell whether a file should be followed by another, so that room can be made."""
        return self._sizes[path] >= part_bytes or self._total > self._max_bytes

    def forget(self, name: str) -> None:
        """Remove a file of this session, if it is there."""
        if self.session is not None:
            (self.session / name).unlink(missing_ok=True)

    def _begin(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sizes = _parts(self.folder)
        self._total = sum(self._sizes.values())
        moment = datetime.fromtimestamp(self._start_ns // NS_PER_S, UTC)
        name, number = f"{moment:%Y%m%dT%H%M%SZ}", 1
        while True:
            session = self.folder / (name if number == 1 else f"{name}-{number}")
            try:
                session.mkdir(mode=0o700)  # motion diaries are personal
            except FileExistsError:
                number += 1
                continue
            self.session = session
            return session

    def _remove(self, part: Path) -> None:
        """Remove a file, and with the last one of a session its folder."""
        self._counts["removed_files"] += 1
        part.unlink(missing_ok=True)
        session = part.parent
        if session != self.session and not any(session.glob("*.csv.gz")):
            for metadata in session.glob("*.json"):
                metadata.unlink(missing_ok=True)
            if not any(session.iterdir()):
                session.rmdir()


def _create(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    aside = path.with_name(f"{path.name}.part")
    try:
        with aside.open("wb", buffering=0) as file:
            _write_whole(file, data)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def _extend(path: Path, size: int, data: bytes) -> None:
    """Append to a file of so many bytes, or leave it as it is."""
    with path.open("r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) != size:
            raise FileNotFoundError(errno.ENOENT, "not what was written", str(path))
        try:
            _write_whole(file, data)
        except OSError:
            file.truncate(size)
            raise


def _write_whole(file: FileIO, data: bytes) -> None:
    """Write all of it: the system may take less at once."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _parts(folder: Path) -> dict[Path, int]:
    """Return path -> bytes of every file of rows in the folder, the oldest first."""
    found = [
        (part.stat().st_mtime_ns, part, part.stat().st_size)
        for session in folder.iterdir()
        if _SESSION.fullmatch(session.name) and session.is_dir()
        for part in session.iterdir()
        if _PART.fullmatch(part.name)
    ]
    return {part: size for _, part, size in sorted(found)}


def recordings_in(paths: Iterable[Path]) -> list[Path]:
    """Put in the place of each session folder the metadata files of its streams."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.json")) if path.is_dir() else []
        ours = [p for p in inside if any(path.glob(f"{p.stem}.????*.csv.gz"))]
        found += ours or [path]
    return found


def files_of(folder: Path, stream: str) -> list[Path]:
    """Return the files of a stream in all sessions below a folder."""
    name = _file_name(stream)
    return [
        path
        for path in sorted(folder.glob(f"*/{name}.*"))
        if _SESSION.fullmatch(path.parent.name)
        and (path.name == f"{name}.json" or _PART.fullmatch(path.name))
    ]


def remove_files(folder: Path, stream: str) -> int:
    """Remove what is recorded of a stream, and sessions of nothing else; return how many files."""
    files = files_of(folder, stream)
    for path in files:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            path.parent.rmdir()
    return len(files)


def is_of_session(path: Path) -> bool:
    """Tell whether a file is a stream's metadata or rows in a session's folder."""
    if path.suffix == ".json":
        return any(path.parent.glob(f"{path.stem}.????*.csv.gz"))
    if not _PART.fullmatch(path.name):
        return False
    stream = path.name.removesuffix(".csv.gz").rpartition(".")[0]
    return path.with_name(f"{stream}.json").is_file()


@dataclass
class Unrecognised:
    """The pipeline of `hard record`: it decides nothing.

    `known` says of each stream what a pipeline would begin with (`Pipeline.memory`).
    """

    known: _Known = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def feed(self, message: Message) -> list[Event]:
        """Decide nothing."""
        del message
        return []

    def tick(self, stream: str) -> list[Event]:
        """Decide nothing."""
        del stream
        return []

    def evict(self, stream: str) -> list[Event]:
        """Decide nothing."""
        del stream
        return []

    def finish(self, reason: str) -> list[Event]:
        """Decide nothing."""
        del reason
        return []

    def state(self, stream: str) -> StreamState | None:
        """Know nothing."""
        del stream
        return None

    def memory(self, stream: str) -> Mapping[str, Any]:
        """Know what a daemon would begin with."""
        return self.known.get(stream, {})

    def memories(self) -> Mapping[str, Mapping[str, Any]]:
        """Have nothing to keep."""
        return {}

    def forget(self, stream: str) -> None:
        """Know nothing of a stream any more."""
        del stream

    def remember(self, stream: str, state: Mapping[str, Any]) -> None:
        """Learn nothing."""
        del stream, state

    def evicted(self) -> list[str]:
        """Know no streams that could go."""
        return []

    def evidence(self, streams: Iterable[str] | None = None) -> Mapping[str, int]:
        """Have nothing to remember."""
        del streams
        return {}
