"""Recordings to labelled windows, cut by the very code that cuts them on the edge.

Pure; called by training and evaluation.  A window's label is the label at its centre, so windows
that straddle a border count too; windows without a label of the model are left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hard.api import SampleBatch, UnusableInput
from hard.conditioning import Conditioner, GridBlock, Verdict
from hard.upright import UprightEstimator, to_upright
from hard.windowing import Windower

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard.conditioning import Conditioned
    from hard_training.datasets import Recording

__all__ = ["LabelledWindows", "grid_blocks", "labelled_windows"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledWindows:
    """Windows of several recordings, in order of time within each.

    `values` is float32[w, T, C] in the units and the frame of `ModelInput`, `label` int64[w]
    indexes the model's labels, `person` int64[w] and `recording` int64[w] say whose and which.
    """

    values: NDArray[np.float32]
    label: NDArray[np.int64]
    person: NDArray[np.int64]
    recording: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.label)

    def part(self, keep: NDArray[np.bool_]) -> LabelledWindows:
        """Return some of the windows."""
        return LabelledWindows(
            self.values[keep], self.label[keep], self.person[keep], self.recording[keep]
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """The labelled windows of one recording, in the device's axes.

    `up` float64[w, 3] is which way was up as far as was known at each one's end, NaN: not at all;
    empty where nobody asked.  `first_up` is the first that was known, of an unlabelled window too.
    """

    values: NDArray[np.float32]
    label: NDArray[np.int64]
    up: NDArray[np.float64]
    first_up: NDArray[np.float64]


def grid_blocks(recording: Recording, wanted: ModelInput) -> Iterator[GridBlock]:
    """Yield the recording on the model's grid; raise `UnusableInput` where the edge rejects it."""
    conditioner = Conditioner(wanted, Counter())

    def conditioned() -> Iterator[Conditioned]:
        for message in recording.messages:
            yield from conditioner.feed([b for b in message if isinstance(b, SampleBatch)])
        yield from conditioner.flush()

    for given in conditioned():
        if isinstance(given, GridBlock):
            yield given
        elif isinstance(given, Verdict) and given.status == "rejected":
            raise UnusableInput(f"{recording.name}: {given.reason}")


def labelled_windows(
    recordings: Sequence[Recording], labels: Sequence[str], wanted: ModelInput
) -> LabelledWindows:
    """Return every window whose centre carries one of `labels`, recording by recording.

    In the upright frame the reference is the edge's, learned from each person's recordings in the
    order they were made, never from labels; what comes before it was learned gets the first one
    (that is "warm": a daemon would not know yet).
    """
    index = {label: i for i, label in enumerate(labels)}
    if wanted.frame == "upright":
        cuts = _upright_cuts(recordings, index, wanted)
    else:
        cuts = {i: _cut(recording, index, wanted) for i, recording in enumerate(recordings)}
    ordered = [cuts[i] for i in range(len(recordings))]
    counts = [len(cut.label) for cut in ordered]
    none = np.empty((0, wanted.window_samples, len(wanted.channels)), np.float32)
    return LabelledWindows(
        np.concatenate([none, *(cut.values for cut in ordered)]),
        np.concatenate([np.empty(0, np.int64), *(cut.label for cut in ordered)]),
        np.repeat(np.array([r.person for r in recordings], np.int64), counts),
        np.repeat(np.arange(len(recordings), dtype=np.int64), counts),
    )


def _upright_cuts(
    recordings: Sequence[Recording], index: dict[str, int], wanted: ModelInput
) -> dict[int, _Cut]:
    """Cut each person's recordings in the order they were made, and turn the windows upright."""
    estimators: dict[int, UprightEstimator] = {}
    first_up: dict[int, NDArray[np.float64]] = {}
    cuts: dict[int, _Cut] = {}
    for number in sorted(range(len(recordings)), key=lambda i: recordings[i].order):
        person = recordings[number].person
        estimator = estimators.setdefault(person, UprightEstimator(wanted.sampling_rate_hz))
        cuts[number] = cut = _cut(recordings[number], index, wanted, estimator)
        if person not in first_up and not np.isnan(cut.first_up[0]):
            first_up[person] = cut.first_up
    for number, cut in cuts.items():
        first = first_up.get(recordings[number].person, cut.first_up)
        up = np.where(np.isnan(cut.up), first, cut.up)
        cuts[number] = replace(cut, values=to_upright(cut.values, up))
    return cuts


def _cut(
    recording: Recording,
    index: dict[str, int],
    wanted: ModelInput,
    estimator: UprightEstimator | None = None,
) -> _Cut:
    windower = Windower(wanted)
    values = [np.empty((0, wanted.window_samples, len(wanted.channels)), np.float32)]
    labels, ups = [np.empty(0, np.int64)], [np.empty((0, 3))]
    first_up = np.full(3, np.nan)
    for block in grid_blocks(recording, wanted):
        if estimator is not None:
            estimator.feed(block.k0, block.values[:, :3], block.valid)
        for windows in windower.feed(block):
            at_centre = recording.labels_at((windows.t_start + windows.t_end) // 2)
            codes = np.array([index.get(label or "", -1) for label in at_centre], np.int64)
            kept = codes >= 0
            values.append(windows.values[kept])
            labels.append(codes[kept])
            if estimator is not None:
                up = estimator.references(windows.t_end // wanted.period_ns)
                known = up[~np.isnan(up[:, 0])]
                first_up = known[0] if len(known) and np.isnan(first_up[0]) else first_up
                ups.append(up[kept])
    return _Cut(np.concatenate(values), np.concatenate(labels), np.concatenate(ups), first_up)
