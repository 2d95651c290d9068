"""Recordings to labelled windows, cut by the very code that cuts them on the edge.

Pure; called by training and evaluation (`hard_training.cache` keeps the results).  A window's label
is the label at its centre, so windows that straddle a border count too; windows without a label of
the model are left out.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from hard.api import SampleBatch, UnusableInput
from hard.conditioning import Conditioner, GridBlock, Verdict
from hard.upright import UprightEstimator, to_upright
from hard.windowing import Windower
from hard_training.datasets.labels import indexed
from hard_training.datasets.recordings import labels_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard.conditioning import Conditioned
    from hard.windowing import WindowBatch
    from hard_training.datasets import Recording, Segment

    Cuttable: TypeAlias = Recording | "GridRecording"

__all__ = [
    "GridRecording",
    "LabelledWindows",
    "grid_blocks",
    "joined",
    "labelled_windows",
    "numbered_apart",
    "on_grid",
]

_PER_SET = 100_000  # people and recordings of the second data set are numbered from there


@dataclass(frozen=True, slots=True, eq=False)
class LabelledWindows:
    """Windows of several recordings, in order of time within each.

    `values` is float32[w, T, C] in the units and the frame of `ModelInput`, `label` int64[w]
    indexes the model's labels, `person` int64[w] and `recording` int64[w] say whose and which,
    `t_start` int64[w] when each begins (ns, in its recording's stamps; 0 where nobody said).
    """

    values: NDArray[np.float32]
    label: NDArray[np.int64]
    person: NDArray[np.int64]
    recording: NDArray[np.int64]
    t_start: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        """Give made-up windows a time."""
        if len(self.t_start) != len(self.label):
            object.__setattr__(self, "t_start", np.zeros(len(self.label), np.int64))

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.label)

    def part(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> LabelledWindows:
        """Return some of the windows."""
        return LabelledWindows(
            self.values[keep],
            self.label[keep],
            self.person[keep],
            self.recording[keep],
            self.t_start[keep],
        )


def numbered_apart(windows: LabelledWindows, data_set: int) -> LabelledWindows:
    """Return the windows of the n-th of several data sets, whose people are not another's."""
    apart = _PER_SET * data_set
    return replace(windows, person=windows.person + apart, recording=windows.recording + apart)


def joined(parts: Sequence[LabelledWindows]) -> LabelledWindows:
    """Return all windows of the parts, one after another."""
    names = [field.name for field in fields(LabelledWindows)]
    return LabelledWindows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
    )


@dataclass(frozen=True, slots=True, eq=False)
class GridRecording:
    """A recording on the model's grid, conditioned; cut like the recording it was made from."""

    name: str
    person: int
    blocks: tuple[GridBlock, ...]
    segments: tuple[Segment, ...]
    order: int = 0
    device: str = ""

    def labels_at(self, t: NDArray[np.int64]) -> list[str | None]:
        """Return the label at each time of `t` (ns), None where there is none."""
        return labels_at(self.segments, t)


def on_grid(recording: Recording, wanted: ModelInput, counts: Counter[str]) -> GridRecording:
    """Condition a recording; count in `counts` what was dropped on the way, by the edge's words."""
    return GridRecording(
        recording.name,
        recording.person,
        tuple(grid_blocks(recording, wanted, counts)),
        recording.segments,
        recording.order,
        recording.device,
    )


def grid_blocks(
    recording: Cuttable, wanted: ModelInput, counts: Counter[str] | None = None
) -> Iterator[GridBlock]:
    """Yield the recording on the model's grid.

    What the edge rejects is left out and counted in `counts`; without them `UnusableInput` is
    raised there.
    """
    if isinstance(recording, GridRecording):
        yield from recording.blocks
        return
    conditioner = Conditioner(wanted, Counter() if counts is None else counts)

    def conditioned() -> Iterator[Conditioned]:
        for message in recording.messages:
            yield from conditioner.feed([b for b in message if isinstance(b, SampleBatch)])
        yield from conditioner.flush()

    for given in conditioned():
        if isinstance(given, GridBlock):
            yield given
        elif isinstance(given, Verdict) and given.status == "rejected" and counts is None:
            raise UnusableInput(f"{recording.name}: {given.reason}")


def labelled_windows(
    recordings: Sequence[Cuttable],
    labels: Sequence[str],
    wanted: ModelInput,
    counts: Counter[str] | None = None,
) -> LabelledWindows:
    """Return every window whose centre carries one of `labels`, recording by recording.

    A union among the labels (`still`) takes in its members.  In the upright frame the reference is
    the edge's, learned from what each person wore in the order it was recorded, never from labels;
    what comes before it was learned gets the first one (that is "warm": a daemon would not know
    yet).  What the edge rejects is counted in `counts`, or raises `UnusableInput` without them.
    """
    cutter = _Cutter(indexed(labels), wanted, counts)
    for number in sorted(range(len(recordings)), key=lambda i: recordings[i].order):
        cutter.cut(number, recordings[number])
    return cutter.joined(recordings)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Windows of one recording, in the device's axes.

    `up` float64[w, 3] is which way was up as far as was known at each one's end, NaN: not at all;
    empty where nobody asked.
    """

    recording: int
    values: NDArray[np.float32]
    label: NDArray[np.int64]
    t_start: NDArray[np.int64]
    up: NDArray[np.float64]


@dataclass(slots=True)
class _Worn:
    """What is known of one device on one person: which way is up, and which way was first."""

    estimator: UprightEstimator
    first_up: NDArray[np.float64] = field(default_factory=lambda: np.full(3, np.nan))


class _Cutter:
    """Cuts recordings one after another and puts their windows together at the end."""

    def __init__(
        self, index: dict[str, int], wanted: ModelInput, counts: Counter[str] | None
    ) -> None:
        self._index, self._wanted, self._counts = index, wanted, counts
        self._pieces: list[_Piece] = []
        self._worn: dict[tuple[int, str], _Worn] = {}

    def cut(self, number: int, recording: Cuttable) -> None:
        """Cut one recording; of a person's, those made earlier come first."""
        windower = Windower(self._wanted)
        worn = self._worn_by(recording)
        for block in grid_blocks(recording, self._wanted, self._counts):
            if worn is not None:
                worn.estimator.feed(block.k0, block.values[:, :3], block.valid)
            for windows in windower.feed(block):
                self._keep(number, recording, windows, worn)

    def _worn_by(self, recording: Cuttable) -> _Worn | None:
        if self._wanted.frame != "upright":
            return None
        whose = (recording.person, recording.device)
        if whose not in self._worn:
            self._worn[whose] = _Worn(UprightEstimator(self._wanted.sampling_rate_hz))
        return self._worn[whose]

    def _keep(
        self, number: int, recording: Cuttable, windows: WindowBatch, worn: _Worn | None
    ) -> None:
        at_centre = recording.labels_at((windows.t_start + windows.t_end) // 2)
        codes = np.array([self._index.get(label or "", -1) for label in at_centre], np.int64)
        up = np.empty((len(windows), 0))
        if worn is not None:
            up = worn.estimator.references(windows.t_end // self._wanted.period_ns)
            known = up[~np.isnan(up[:, 0])]
            if len(known) and np.isnan(worn.first_up[0]):
                worn.first_up = known[0]
        kept = codes >= 0
        if kept.any():
            whole = kept.all()
            values = windows.values if whole else windows.values[kept]
            piece = _Piece(number, values, codes[kept], windows.t_start[kept], up[kept])
            self._pieces.append(piece)

    def joined(self, recordings: Sequence[Cuttable]) -> LabelledWindows:
        """Return the windows by recording, giving each piece's memory back once it is copied."""
        pieces = deque(sorted(self._pieces, key=lambda piece: piece.recording))
        self._pieces = []
        counts = [len(piece.label) for piece in pieces]
        numbers = np.repeat(np.array([p.recording for p in pieces], np.int64), counts)
        none = np.empty(0, np.int64)
        label = np.concatenate([none, *(piece.label for piece in pieces)])
        t_start = np.concatenate([none, *(piece.t_start for piece in pieces)])
        shape = (len(label), self._wanted.window_samples, len(self._wanted.channels))
        values = np.empty(shape, np.float32)
        at = 0
        while pieces:
            piece = pieces.popleft()
            values[at : at + len(piece.label)] = self._turned(piece, recordings[piece.recording])
            at += len(piece.label)
        people = np.array([recording.person for recording in recordings], np.int64)
        return LabelledWindows(values, label, people[numbers], numbers, t_start)

    def _turned(self, piece: _Piece, recording: Cuttable) -> NDArray[np.float32]:
        worn = self._worn_by(recording)
        if worn is None:
            return piece.values
        up = np.where(np.isnan(piece.up), worn.first_up, piece.up)
        return to_upright(piece.values, up)
