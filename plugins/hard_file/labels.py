"""Labels that stand beside a recording, and how any labels become annotations.

`NAME.labels.csv` beside `NAME.csv` (or any other recording) has the columns t_start_ns, t_end_ns
and label.  Called by `Recording` and by the formats that keep labels apart.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from hard.api import Annotation, SampleBatch, UnusableInput
from hard_file.table import guarded, opened, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hard.api import Message
    from hard_file.table import Skip

__all__ = ["Interval", "annotated", "changes", "labels_beside", "read_labels"]

MAX_LABELS_BYTES = 16 * 1024 * 1024
_COLUMNS = ("t_start_ns", "t_end_ns", "label")
_T_END_NS = 2**62


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """One label, from `t_start_ns` up to but not including `t_end_ns`."""

    t_start_ns: int
    t_end_ns: int
    label: str


def labels_beside(path: Path) -> Path | None:
    """Return the file of labels beside the recording at `path`, None where there is none."""
    name = path.name if path.is_dir() else PurePath(path.name.removesuffix(".gz")).stem
    beside = path.with_name(f"{name}.labels.csv")
    return beside if beside.is_file() else None


def read_labels(path: Path, skip: Skip) -> list[Interval]:
    """Return the intervals in a file of labels by their start; bad rows are skipped.

    Raises `UnusableInput` for a file without its columns or over 16 MiB.
    """
    with opened(path) as file, guarded(str(path)):
        data = file.read(MAX_LABELS_BYTES + 1)
    if len(data) > MAX_LABELS_BYTES:
        raise UnusableInput(f"{path}: over {MAX_LABELS_BYTES} bytes of labels; split the recording")
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=""))
    found: list[Interval] = []
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
        if not set(_COLUMNS) <= set(header):
            raise UnusableInput(
                f"{path}: has the columns {quoted(header)}; a file of labels needs "
                f"{','.join(_COLUMNS)}"
            )
        rows.fieldnames = header
        for number, row in enumerate(rows, 1):
            found += _interval(row, f"{path}: row {number}", skip)
    except csv.Error as error:
        raise UnusableInput(f"{path}: is no CSV ({error}); write it anew") from error
    return sorted(found)


def _interval(row: dict[str, str | None], where: str, skip: Skip) -> list[Interval]:
    start, end, label = (str(row[name] or "").strip() for name in _COLUMNS)
    try:
        interval = Interval(int(start), int(end), label)
    except ValueError:
        skip("bad_label", f"{where} has {(start[:40], end[:40])!r} where integer ns belong")
        return []
    if not (label and abs(interval.t_start_ns) < _T_END_NS and abs(interval.t_end_ns) < _T_END_NS):
        skip("bad_label", f"{where} has no label, or times beyond 64-bit ns")
        return []
    if interval.t_start_ns >= interval.t_end_ns:
        skip("bad_label", f"{where} ends before it begins")
        return []
    return [interval]


def annotated(
    messages: Iterable[Message], intervals: Sequence[Interval], stream: str
) -> Iterator[Message]:
    """Put intervals into the messages that reach their times; the rest behind the last.

    An interval gives its label at its start and "" at its end, unless another begins before.
    """
    notes: list[Annotation] = []
    following = [interval.t_start_ns for interval in intervals[1:]]
    for this, then_ns in zip_longest(intervals, following, fillvalue=None):
        assert this is not None  # one fewer follow
        notes.append(Annotation(stream, this.t_start_ns, this.label))
        if then_ns is None or then_ns > this.t_end_ns:
            notes.append(Annotation(stream, this.t_end_ns, ""))
    at = 0
    for message in messages:
        newest = max(
            (int(part.t.max()) for part in message if isinstance(part, SampleBatch)), default=None
        )
        until = at
        while newest is not None and until < len(notes) and notes[until].t <= newest:
            until += 1
        yield [*message, *notes[at:until]]
        at = until
    if at < len(notes):
        yield notes[at:]


def changes(
    stream: str, t: NDArray[np.int64], labels: Sequence[str], before: str
) -> list[Annotation]:
    """Return an annotation wherever the label of int64[n] stamps differs from the one before."""
    return [
        Annotation(stream, int(t[at]), new)
        for at, (old, new) in enumerate(pairwise([before, *labels]))
        if old != new
    ]
