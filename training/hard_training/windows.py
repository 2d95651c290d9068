"""Recordings to labelled windows, cut by the very code that cuts them on the edge.

Pure; called by training and evaluation.  A window's label is the label at its centre, so windows
that straddle a border count too; windows without a label of the model are left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hard.api import SampleBatch, UnusableInput
from hard.conditioning import Conditioner, GridBlock, Verdict
from hard.windowing import Windower

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard.conditioning import Conditioned
    from hard.windowing import WindowBatch
    from hard_training.datasets import Recording

__all__ = ["LabelledWindows", "cut", "labelled_windows"]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledWindows:
    """Windows of several recordings, in order of time within each.

    `values` is float32[w, T, C] in the units of `ModelInput`, `label` int64[w] indexes the
    model's labels, `person` int64[w] and `recording` int64[w] say whose and which.
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


def cut(recording: Recording, wanted: ModelInput) -> Iterator[WindowBatch]:
    """Yield the recording's windows; raise `UnusableInput` where the edge rejects it."""
    conditioner, windower = Conditioner(wanted, Counter()), Windower(wanted)

    def conditioned() -> Iterator[Conditioned]:
        for message in recording.messages:
            yield from conditioner.feed(b for b in message if isinstance(b, SampleBatch))
        yield from conditioner.flush()

    for given in conditioned():
        if isinstance(given, GridBlock):
            yield from windower.feed(given)
        elif isinstance(given, Verdict) and given.status == "rejected":
            raise UnusableInput(f"{recording.name}: {given.reason}")


def labelled_windows(
    recordings: Iterable[Recording], labels: Sequence[str], wanted: ModelInput
) -> LabelledWindows:
    """Return every window whose centre carries one of `labels`."""
    index = {label: i for i, label in enumerate(labels)}
    values = [np.empty((0, wanted.window_samples, len(wanted.channels)), np.float32)]
    found: list[tuple[int, int, int]] = []
    for number, recording in enumerate(recordings):
        for windows in cut(recording, wanted):
            at_centre = recording.labels_at((windows.t_start + windows.t_end) // 2)
            codes = [index.get(label or "", -1) for label in at_centre]
            values.append(windows.values[np.array(codes) >= 0])
            found += [(code, recording.person, number) for code in codes if code >= 0]
    columns = np.array(found, np.int64).reshape(-1, 3).T
    return LabelledWindows(np.concatenate(values), *columns)
