"""UCI HAR's inertial signals: windows of 128 samples at 50 Hz, each half of it in the next one too.

Each line of `total_acc_x_train.txt` and its five relatives is one window; `subject_train.txt` and
`y_train.txt` give its person and activity.  Where a window's first half is the one before's second
half, both are one recording again; where it is not, time was cut out, nobody knows how much: the
next piece then stands 5 s later.  The signals are no raw ones: the authors ran a median filter and
a 20 Hz low-pass over them.  A Galaxy S II at the waist (Android sign), g and rad/s.  Anguita et
al., "A Public Domain Dataset for Human Activity Recognition Using Smartphones", ESANN 2013.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from hard.api import Annotation, SampleBatch, UnusableInput
from hard_file import hapt
from hard_file.container import folder_of, matching
from hard_file.hapt import PERIOD_NS, declared_of
from hard_file.recording import Recording, RecordingInfo
from hard_file.table import LARGEST, MAX_LINE_BYTES, guarded, opened, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from hard.api import Declared, Message, Sensor
    from hard_file.container import Folder
    from hard_file.recording import Options
    from hard_file.table import Skip

__all__ = ["FIRST_NAME", "open_uci_har"]

FIRST_NAME = re.compile(r"total_acc_x_([A-Za-z0-9]{1,20})\.txt")
_PERSON = re.compile(rb"[0-9]{1,6}")
BETWEEN_PIECES_NS = 5_000_000_000
WINDOW, HALF = 128, 64
LABELS = hapt.LABELS[:6]
_SIGNALS = tuple(f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz")


def open_uci_har(path: Path, options: Options) -> Recording:
    """Return what UCI HAR's windows were cut from: a stream a person, one after another.

    `path` is one `total_acc_x_*.txt`, or a folder or zip that holds some.  Raises `UnusableInput`
    where one of the six signals is missing.
    """
    declared = declared_of(options)
    files = _Files(path, options.stream_for(path), declared, options.start_ns)
    with files.opened() as found:
        lacking = [
            m.name for first, part in found for m in _members(first, part) if not m.is_file()
        ]
        if not found or lacking:
            raise UnusableInput(
                f"{path}: UCI HAR's inertial signals need "
                f"{quoted(lacking or ['total_acc_x_*.txt'])} in the same folder; unpack them too"
            )
        parts = ", ".join(part for _, part in found)
    info = RecordingInfo(
        format="uci_har",
        reason=f"UCI HAR's inertial signals by their names ({parts}): windows of 2.56 s at 50 Hz, "
        "in g, Android sign, filtered by their authors; joined again where they overlap",
        declared=declared,
    )
    return Recording(path, files.stream, info, files.messages, options.start_ns)


def _members(first: Folder, part: str) -> list[Folder]:
    return [folder_of(first) / f"{signal}_{part}.txt" for signal in _SIGNALS]


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """One window: float64[128, 6] in g and rad/s, whose it is and what was done."""

    values: NDArray[np.float64]
    person: str
    label: str


@dataclass(frozen=True, slots=True)
class _Files:
    path: Path
    stream: str
    declared: Mapping[Sensor, Declared]
    start_ns: int

    @contextmanager
    def opened(self) -> Iterator[list[tuple[Folder, str]]]:
        """Give the first signal's files with the names of their parts (train, test)."""
        with matching(self.path, FIRST_NAME) as found:
            yield [(file, match[1]) for file, match in found]

    def messages(self, skip: Skip) -> Iterator[Message]:
        """Yield one message a window, with what it adds to the one before."""
        with self.opened() as found:
            for first, part in found:
                joined = _Joined(self.stream, part, self.declared, self.start_ns)
                for window in _windows(first, part, skip):
                    yield [] if window is None else joined.add(window)


def _windows(first: Folder, part: str, skip: Skip) -> Iterator[_Window | None]:
    """Yield the windows of one part; None for a bad line."""
    beside = folder_of(folder_of(first))
    with ExitStack() as stack:
        files = [stack.enter_context(opened(member)) for member in _members(first, part)]
        about = [
            stack.enter_context(opened(member)) if member.is_file() else None
            for member in (beside / f"subject_{part}.txt", beside / f"y_{part}.txt")
        ]
        with guarded(str(first)):
            for number, lines in enumerate(zip_longest(*map(_lines, files)), 1):
                person, code = (b"" if f is None else f.readline(64).strip() for f in about)
                values = _values(lines)
                if values is None:
                    skip(
                        "bad_window",
                        f"{first}: line {number} of a signal is not {WINDOW} numbers; left out",
                    )
                    yield None
                    continue
                whose = person.decode() if _PERSON.fullmatch(person) else ""
                label = LABELS[int(code) - 1] if code in _CODES else ""
                yield _Window(values, whose, label)


_CODES = {str(code).encode() for code in range(1, len(LABELS) + 1)}


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES):
        yield line


def _values(lines: tuple[bytes | None, ...]) -> NDArray[np.float64] | None:
    """Return float64[128, 6], None unless each line holds 128 readings."""
    try:
        columns = [[float(field) for field in (line or b"").split()] for line in lines]
    except ValueError:
        return None
    if any(len(column) != WINDOW for column in columns):
        return None
    values = np.array(columns, np.float64).T
    return values if (np.abs(values) <= LARGEST).all() else None


class _Joined:
    """Puts overlapping windows together again, one person at a time."""

    def __init__(
        self, stream: str, part: str, declared: Mapping[Sensor, Declared], start_ns: int
    ) -> None:
        self._stem, self._part, self._declared = stream, part, declared
        self._start_ns = self._next_ns = start_ns
        self._person: str | None = None
        self._tail: NDArray[np.float64] | None = None
        self._label = ""

    def add(self, window: _Window) -> Message:
        """Return what a window adds: its second half where the first is known, else all."""
        if window.person != self._person:
            self._person, self._tail, self._label = window.person, None, ""
            self._next_ns = self._start_ns
        if self._tail is None:
            new = window.values
        elif np.array_equal(self._tail, window.values[:HALF]):
            new = window.values[HALF:]
        else:
            new, self._next_ns = window.values, self._next_ns + BETWEEN_PIECES_NS
        self._tail = window.values[HALF:]
        return self._message(new, window.label)

    def _message(self, new: NDArray[np.float64], label: str) -> Message:
        whose = f"-{self._part}" + (f"-{self._person}" if self._person else "")
        stream = f"{self._stem[: 64 - len(whose)]}{whose}"
        t = self._next_ns + np.arange(len(new), dtype=np.int64) * PERIOD_NS
        self._next_ns = int(t[-1]) + PERIOD_NS
        message: list[SampleBatch | Annotation] = [
            SampleBatch(stream, sensor, t, new[:, at : at + 3].astype(np.float32), declared)
            for at, (sensor, declared) in zip((0, 3), self._declared.items(), strict=True)
        ]
        if label != self._label:
            self._label = label
            message.append(Annotation(stream, int(t[0]), label))
        return message
