"""Rows of numbers out of a CSV file of any size, in blocks, at constant memory.

Not a general CSV library: one header line, numeric columns found by name, at most one text column.
Every format of this plugin reads through it.  A block that is regular throughout is parsed in one
go (as a JSON array, because simdjson is the fastest exact parser of numbers there is); any
irregularity sends that block, and that block only, down the careful path, which looks at each row,
keeps the good ones and names what is wrong with the others.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import numpy as np

from hard.api import UnusableInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BLOCKS_AT_ONCE",
    "BLOCK_BYTES",
    "LARGEST",
    "MAX_LINE_BYTES",
    "Columns",
    "CsvFile",
    "Readable",
    "Rewritten",
    "Rows",
    "Skip",
    "guarded",
    "opened",
    "quoted",
]

MAX_LINE_BYTES = 64 * 1024
BLOCK_BYTES = 256 * 1024
BLOCKS_AT_ONCE = 4
"""Small blocks are parsed fastest; what comes behind rather takes many rows at a time."""
LARGEST = 1e30
"""Beyond this a number is no reading; float32 holds 3.4e38, which leaves room for sums."""
_LAST_FIRST_DIGITS = 9222
"""Of 19: int64 ends within 9223."""

Skip: TypeAlias = Callable[[str, str], None]
"""Told of every row left out: the reason (a word) and a sentence."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read: names as in the header; `time` is integer ns, `label` is text."""

    values: tuple[str, ...]
    time: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The good rows of one block, in file order.

    `row` int64[n] is each one's number in the file, from 0 and counting bad rows but not blank
    lines; `t` int64[n] in ns, exact (zeros without a time column); `values` float64[n, k], finite,
    columns as asked for; `labels` n texts, or None without a label column.
    """

    row: NDArray[np.int64]
    t: NDArray[np.int64]
    values: NDArray[np.float64]
    labels: list[str] | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.row)

    def part(self, keep: NDArray[np.bool_]) -> Rows:
        """Return some of the rows."""
        labels = None if self.labels is None else list(compress(self.labels, keep))
        return Rows(self.row[keep], self.t[keep], self.values[keep], labels)


def _joined(parts: list[Rows]) -> Rows:
    """Return the rows of consecutive blocks, and let go of the parts."""
    labels = [label for part in parts for label in part.labels or ()]
    joined = Rows(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.t for part in parts]),
        np.concatenate([part.values for part in parts]),
        None if parts[0].labels is None else labels,
    )
    parts.clear()
    return joined


_Matrix: TypeAlias = tuple["NDArray[np.float64]", tuple[int, int] | None, list[str] | None]
"""Numbers float64[lines, columns], how stamps were shortened, and labels."""


class _BadRow(Exception):  # noqa: N818 - it never leaves this module
    """Why one row is left out: `args` is the reason and a sentence."""


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn whatever a damaged or unreadable file raises into `UnusableInput`."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        NotImplementedError,  # an unknown compression
        RuntimeError,  # an encrypted member
        ValueError,  # member names and offsets that make no sense
        OSError,
    ) as error:
        raise UnusableInput(
            f"{name}: cannot be read ({error}); copy or export it again, without a password"
        ) from error


class Readable(Protocol):
    """What can be opened for reading: a path, a member of a zip or of another export."""

    @property
    def name(self) -> str:
        """The file's name."""
        ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Open it."""
        ...


def opened(path: Readable) -> IO[bytes]:
    """Open a file or a member of a zip for reading; raise `UnusableInput` when that fails.

    A file compressed by gzip comes out unpacked.
    """
    with guarded(str(path)):
        if isinstance(path, Path):
            with path.open("rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
            if packed:
                return cast("IO[bytes]", gzip.open(path))
        return path.open("rb")


def quoted(names: Sequence[str]) -> str:
    """List at most a dozen foreign names for a message, each cut to 40 characters."""
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


class Rewritten:
    """A stream of bytes, read one for one as other characters, behind a header line of its own.

    So files with other separators, or without a header, are read by `CsvFile` as well.
    """

    def __init__(self, stream: IO[bytes], old: bytes, new: bytes, header: bytes = b"") -> None:
        self._stream, self._header = stream, header
        self._table = bytes.maketrans(old, new)

    def read(self, n: int) -> bytes:
        """Return at least one byte more, unless the stream has ended."""
        header, self._header = self._header, b""
        return header + self._stream.read(n).translate(self._table)


class _Bytes(Protocol):
    def read(self, n: int, /) -> bytes: ...


class CsvFile:
    """A CSV file open for reading: its header, checked, then its rows, once.

    `stream` stands at its start and stays the caller's to close; `name` stands in messages.
    `has_rows` tells whether anything follows the header.  Raises `UnusableInput` for what is
    empty, binary, one endless line, not separated by commas, or names a column twice.
    """

    def __init__(self, stream: _Bytes, name: str) -> None:
        self.name = name
        self._stream = stream
        with guarded(name):
            head = stream.read(MAX_LINE_BYTES)
        line, self._after_header = _header_line(head, name)
        self.header = _header_names(line, name)
        self.has_rows = bool(self._after_header.strip())
        _refuse_decimal_commas(self._after_header, len(self.header), name)

    def rows(self, columns: Columns, skip: Skip, block_bytes: int = BLOCK_BYTES) -> Iterator[Rows]:
        """Yield the good rows of a few blocks at a time; blocks without any come empty.

        `skip` hears of `wrong_columns`, `long_line`, `not_a_number`, `not_finite` and
        `time_out_of_range`.  Raises `UnusableInput` when the file can't be read on.
        """
        parser = _Parser(self.name, self.header, columns, skip)
        parts: list[Rows] = []
        for block in self._blocks(block_bytes):
            parts.append(parser.parse(block))
            if len(parts) == BLOCKS_AT_ONCE:
                yield _joined(parts)
        if parts:
            yield _joined(parts)

    def _blocks(self, block_bytes: int) -> Iterator[bytes]:
        """Yield whole lines, each ended by a newline; b"" when a read completed none.

        Of a line beyond the limit just enough is kept to see that it is.
        """
        chunk, line = self._after_header, b""
        while True:
            end = chunk.rfind(b"\n") + 1
            yield b"".join((line, memoryview(chunk)[:end])) if end else b""
            line = chunk[end:] if end else line + chunk
            line = line[: MAX_LINE_BYTES + 1]
            with guarded(self.name):
                chunk = self._stream.read(block_bytes)
            if not chunk:
                break
        if line:
            yield line + b"\n"


def _header_line(head: bytes, name: str) -> tuple[str, bytes]:
    """Split the file's first 64 KiB into the header line and what follows."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    if not text:
        raise UnusableInput(f"{name}: the file is empty; record or export it again")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text)
    except UnicodeDecodeError:
        text = b"\0"
    if b"\0" in text:
        raise UnusableInput(
            f"{name}: binary data or not UTF-8 text; give a CSV file in UTF-8, or a zip"
        )
    line, newline, rest = text.partition(b"\n")
    if not newline and len(head) >= MAX_LINE_BYTES:
        raise UnusableInput(
            f"{name}: no line ends within its first {MAX_LINE_BYTES} bytes; "
            "give a CSV file with one row per line"
        )
    return line.decode(errors="replace").strip(), rest


def _header_names(line: str, name: str) -> tuple[str, ...]:
    if "," not in line and (";" in line or "\t" in line):
        raise UnusableInput(
            f"{name}: the header {line[:80]!r} does not separate its columns with ','; "
            "save the file with ',' between columns and '.' as decimal mark"
        )
    names = tuple(field.decode().strip() for field in _fields(line.encode()))
    twice = sorted({one for one in names if one and names.count(one) > 1})
    if twice:
        raise UnusableInput(
            f"{name}: the header names {quoted(twice)} more than once; keep one column of each"
        )
    return names


def _refuse_decimal_commas(after_header: bytes, n_columns: int, name: str) -> None:
    """Tell a number written 0,5 from one row too long: every first row shows it."""
    rows = [row for row in after_header.split(b"\n", 2)[:2] if row.strip()]
    counts = {0 if b"." in row or b'"' in row else row.count(b",") + 1 for row in rows}
    if len(counts) == 1 and n_columns < min(counts) <= 2 * n_columns:
        raise UnusableInput(
            f"{name}: its rows have {min(counts)} columns and the header {n_columns}, as if "
            "decimal commas were used; save the file with '.' as decimal mark"
        )


def _fields(line: bytes) -> list[bytes]:
    """Split one line at its commas, minding quotes."""
    if b'"' not in line:
        return line.split(b",")
    try:
        text = next(csv.reader([line.decode("latin-1")], skipinitialspace=True), [])
    except csv.Error as error:
        raise _BadRow("wrong_columns", f"cannot be split into columns ({error})") from None
    return [field.encode("latin-1") for field in text]


class _Parser:
    """Turns blocks of lines into `Rows` and knows how many rows there were before."""

    def __init__(self, name: str, header: tuple[str, ...], columns: Columns, skip: Skip) -> None:
        self._name = name
        self._skip = skip
        self._n_columns = len(header)
        self._values_at = [header.index(value) for value in columns.values]
        self._time_at = None if columns.time is None else header.index(columns.time)
        self._label_at = None if columns.label is None else header.index(columns.label)
        times = [] if self._time_at is None else [self._time_at]
        self._numeric_at = times + self._values_at
        first = self._numeric_at[0]
        self._numeric = itemgetter(
            *self._numeric_at if len(self._numeric_at) > 1 else [slice(first, first + 1)]
        )
        self._numbers = _number_parser()
        self._characters = np.empty(0, np.uint8)
        self._next_row = 0

    def parse(self, block: bytes) -> Rows:
        """Return the good rows of whole lines; skip the others, blank lines in silence."""
        rows = self._parse_regular(block)
        if rows is None and (dense := _dense(block)) != block:
            block, rows = dense, self._parse_regular(dense)
        return self._parse_carefully(block) if rows is None else rows

    def _parse_regular(self, block: bytes) -> Rows | None:
        """Parse a block in one go; None when anything in it needs a closer look."""
        if not block or b'"' in block or b"[" in block:
            return None
        last = self._n_columns - 1
        if self._time_at in (None, 0) and self._label_at in (None, last):
            n_numbers = self._n_columns if self._label_at is None else last
            rows = self._from_json(block, list(range(n_numbers)))
            if rows is not None:
                return rows
        whole = block[:-1].split(b"\n")
        lines = [line.split(b",") for line in whole]
        if set(map(len, lines)) != {self._n_columns} or max(map(len, whole)) > MAX_LINE_BYTES:
            return None
        ends = [b"\n"] * len(lines)
        if self._label_at is not None:
            ends = [b",%s\n" % line[self._label_at] for line in lines]
        numbers = b"".join(
            [b",".join(self._numeric(line)) + end for line, end in zip(lines, ends, strict=True)]
        )
        return self._from_json(numbers, self._numeric_at)

    def _from_json(self, block: bytes, columns_at: list[int]) -> Rows | None:
        """Parse lines of the numbers in `columns_at`, then maybe a label, as one JSON array."""
        found = self._matrix(block, len(columns_at))
        if found is None:
            return None
        matrix, shorter, labels = found
        values = matrix.take([columns_at.index(at) for at in self._values_at], axis=1)
        values += 0.0  # no -0.0
        t = np.zeros(len(matrix), np.int64)
        if self._time_at is not None:
            exact = _exact_stamps(matrix[:, 0], shorter)
            if exact is None:
                return None
            t = exact
        if not (values.min() >= -LARGEST and values.max() <= LARGEST):
            return None
        row = np.arange(self._next_row, self._next_row + len(matrix), dtype=np.int64)
        self._next_row += len(matrix)
        return Rows(row, t, values, labels)

    def _matrix(self, block: bytes, width: int) -> _Matrix | None:
        """Return the numbers of a block whose lines have `width` of them each, else None."""
        array = self._bracketed(block)
        text, labelled = array[1:], self._label_at is not None
        ends = np.flatnonzero(text == ord("\n"))
        starts = np.append(0, ends[:-1] + 1)
        if (ends - starts).max() > MAX_LINE_BYTES:
            return None
        shorter = None if self._time_at is None else _shorten_stamps(text, starts)
        labels = _cut_labels(block, text, ends, width) if labelled else None
        if labelled and labels is None:
            return None
        text[ends] = ord(",")
        text[-1] = ord("]")
        try:
            matrix = self._numbers(array).reshape(len(ends), width)
        except (ValueError, TypeError, OverflowError, RuntimeError):  # a huge integer: the last two
            return None
        # Stamps begin the lines: where no other number is as high, each line has its columns.
        told = shorter is not None and np.count_nonzero(matrix >= shorter[1]) == len(matrix)
        fits = told or labelled or _has_commas(text, ends, width)
        return (matrix, shorter, labels) if fits else None

    def _bracketed(self, block: bytes) -> NDArray[np.uint8]:
        """Return a block's characters behind a bracket, in memory that the next block takes."""
        n = len(block) + 1
        if n > len(self._characters):
            self._characters = np.full(n, ord("["), np.uint8)
        self._characters[1:n] = np.frombuffer(block, np.uint8)
        return self._characters[:n]

    def _parse_carefully(self, block: bytes) -> Rows:
        """Look at every line by itself."""
        good: list[tuple[int, int, list[float], str]] = []
        for line in block.split(b"\n")[:-1]:
            if line.strip():
                good += self._good_row(line)
                self._next_row += 1
        return Rows(
            np.array([row for row, _, _, _ in good], np.int64),
            np.array([t for _, t, _, _ in good], np.int64),
            np.array([values for _, _, values, _ in good], np.float64).reshape(
                len(good), len(self._values_at)
            ),
            None if self._label_at is None else [label for _, _, _, label in good],
        )

    def _good_row(self, line: bytes) -> list[tuple[int, int, list[float], str]]:
        """Return the one row in a line, or none, said and counted."""
        try:
            if len(line) > MAX_LINE_BYTES:
                raise _BadRow("long_line", f"is longer than {MAX_LINE_BYTES} bytes")  # noqa: TRY301 - one place counts
            fields = _fields(line)
            if len(fields) != self._n_columns:
                raise _BadRow(  # noqa: TRY301 - one place counts
                    "wrong_columns", f"has {len(fields)} columns, the header {self._n_columns}"
                )
            t = 0 if self._time_at is None else _integer(fields[self._time_at])
            values = [_number(fields[at]) for at in self._values_at]
        except _BadRow as bad:
            reason, why = bad.args
            self._skip(reason, f"{self._name}: row {self._next_row + 1} {why}; it is left out")
            return []
        label = "" if self._label_at is None else _text(fields[self._label_at])
        return [(self._next_row, t, values, label)]


def _number_parser() -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """Return what turns the text of a JSON array of numbers into an array, or raises.

    ValueError, TypeError, OverflowError or RuntimeError for anything else.
    """
    try:
        from simdjson import Array, Parser  # noqa: PLC0415 - there is no wheel for 32-bit ARM
    except ImportError:
        return _numbers_in_python
    parser = Parser()

    def numbers(text: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = parser.parse(text)  # type: ignore[call-overload]  # any buffer will do
        assert isinstance(found, Array)  # its text begins with a bracket
        return np.frombuffer(found.as_buffer(of_type="d"), np.float64)

    return numbers


def _numbers_in_python(text: NDArray[np.uint8]) -> NDArray[np.float64]:
    array = text.tobytes()
    if b"t" in array or b"f" in array:
        raise ValueError("true and false are no numbers")
    return np.array(json.loads(array), np.float64)


def _has_commas(text: NDArray[np.uint8], ends: NDArray[np.intp], width: int) -> bool:
    """Tell whether `width` columns end at commas, the last of each line's at `ends`."""
    commas = np.append(np.flatnonzero(text == ord(",")), ends[-1])
    return len(commas) == width * len(ends) and bool((commas[width - 1 :: width] == ends).all())


def _cut_labels(
    block: bytes, text: NDArray[np.uint8], ends: NDArray[np.intp], width: int
) -> list[str] | None:
    """Return what stands behind the `width` other columns of each line, and blank it in `text`.

    None where a line has more columns, or fewer.
    """
    commas = np.flatnonzero(text == ord(","))
    if len(commas) != width * len(ends):
        return None
    begins = commas[width - 1 :: width]
    if (begins > ends).any() or (commas[width::width] < ends[:-1]).any():
        return None
    fields = [block[a + 1 : b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
    lengths = ends - begins
    for length in np.unique(lengths).tolist():
        text[begins[lengths == length, None] + np.arange(length)] = ord(" ")
    names = {field: _text(field) for field in set(fields)}
    return [names[field] for field in fields]


def _shorten_stamps(text: NDArray[np.uint8], starts: NDArray[np.intp]) -> tuple[int, int] | None:
    """Make the stamps that lines begin with short enough for a float64; return how to undo it.

    Of the 19 digits of a time in ns since the epoch a float64 holds 15, and the first four are the
    same for days: a 1 takes their place.  Given back are that number of four digits, and what the
    1 stands for; None where nothing was changed.
    """
    head = text[:20].tobytes()
    width, first = head.find(b","), head[:4]
    if not (15 < width <= 19 and first.isdigit() and int(first) <= _LAST_FIRST_DIGITS):
        return None
    if starts[-1] + len(first) > len(text):  # the last line is shorter
        return None
    fours: NDArray[np.uint32]  # the four characters from each one on
    fours = np.ndarray(len(text) - 3, "<u4", text, strides=(1,))
    if (fours[starts] != fours[0]).any():
        return None
    fours[starts] = int.from_bytes(b"   1", "little")
    return int(first), 10 ** (width - 4)


def _exact_stamps(
    stamps: NDArray[np.float64], shorter: tuple[int, int] | None
) -> NDArray[np.int64] | None:
    """Return integer stamps, which may have been made shorter; None where that is not sure."""
    stamps = stamps.copy()  # closer together
    low, high, lacking = 1 - 2**53, 2**53, 0
    if shorter is not None:  # in this range it has as many digits as the first
        first, one = shorter
        low, high, lacking = one, 2 * one, (first - 1) * one
    if not (low <= stamps.min() and stamps.max() < high):
        return None
    exact = stamps.astype(np.int64)
    return exact + lacking if (exact == stamps).all() else None


def _dense(block: bytes) -> bytes:
    """Return a block without its empty lines: each pass halves those that follow each other."""
    block = block.replace(b"\r\n", b"\n")
    while b"\n\n" in block:
        block = block.replace(b"\n\n", b"\n")
    return block.lstrip(b"\n")


def _text(field: bytes) -> str:
    return field.decode(errors="replace").strip()


def _number(field: bytes) -> float:
    try:
        value = float(field.replace(b"_", b"?"))  # Python would read 1_0 as ten
    except ValueError:
        raise _BadRow("not_a_number", f"has {field[:40]!r} where a number belongs") from None
    if not abs(value) <= LARGEST:
        raise _BadRow("not_finite", f"has {field[:40]!r} where a reading belongs")
    return value + 0.0  # no -0.0, which the other path can't tell either


def _integer(field: bytes) -> int:
    no_integer = _BadRow("not_a_number", f"has {field[:40]!r} where integer ns belong")
    try:
        value = Decimal(field.replace(b"_", b"?").decode("ascii"))
    except (ValueError, InvalidOperation):
        raise no_integer from None
    if not value.is_finite():
        raise no_integer
    if not -(2**63) <= value < 2**63:
        raise _BadRow("time_out_of_range", f"has the time {field[:40]!r}, beyond 64 bits")
    if value != int(value):
        raise no_integer
    return int(value)
