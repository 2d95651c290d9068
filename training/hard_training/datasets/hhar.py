"""HHAR: eight phones in a pouch at the waist, or four watches on the wrists, 50 to 200 Hz.

UCI's no. 344 is a zip with `Activity recognition exp.zip` in it, there `Phones_accelerometer.csv`,
`Watch_gyroscope.csv` and so on, each device's clock with its jumps (counted as `time_jump`).  A
recording is one stretch of one activity of one person's device.  Stisen et al. 2015.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hard.api import NS_PER_S, Annotation, SampleBatch
from hard_training.datasets.archive import unpacked
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.labels import canonical, is_known
from hard_training.datasets.recordings import Split, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hard.api import Message
    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["HHAR"]

_FILES = {"waist": "Phones", "wrist": "Watch"}
_JUMP_NS = 10 * NS_PER_S


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield each stretch of one activity of each person's device; person a is 1."""
    archive, kind = loading.archive, _FILES[loading.placement]
    for accel, _ in archive.files(rf"{kind}_accelerometer\.csv"):
        gyro = archive.needed(accel.beside(f"{kind}_gyroscope.csv"))
        with unpacked(accel, gyro) as file:
            order = Counter[str]()
            for message in parsed(file, "hhar", loading.defects):
                yield from _stretches(message, order, loading.defects)


def _stretches(message: Message, order: Counter[str], defects: Counter[str]) -> Iterator[Recording]:
    """Cut one device's stretch where the activity changes; the gyroscope by its time."""
    batches = [part for part in message if isinstance(part, SampleBatch)]
    notes = [part for part in message if isinstance(part, Annotation)]
    accel = next(batch for batch in batches if batch.sensor == "accel")
    user, _, device = accel.stream.partition("-")
    for begin, end, text in _runs(accel.t, notes):
        label = canonical(text)
        if label is None:
            defects["unknown_label"] += not is_known(text)
            continue
        t = accel.t[begin:end]
        steps = np.diff(t)
        defects["time_jump"] += int(((steps < 0) | (steps > _JUMP_NS)).sum())
        kept = [_part(accel, np.arange(begin, end))]
        for batch in batches:
            if batch.sensor == "gyro":
                within = (batch.t >= t.min()) & (batch.t <= t.max())
                kept.append(_part(batch, np.flatnonzero(within)))
        order[user] += 1
        name = f"{user}-{device}-{order[user]}-{label}"
        person = ord(user[0]) - ord("a") + 1
        yield whole(name, person, [kept], label, order=order[user], device=device)


def _runs(t: NDArray[np.int64], notes: list[Annotation]) -> list[tuple[int, int, str]]:
    """Return where each label holds: rows [begin, end); notes stand at the times of their rows."""
    found: list[tuple[int, str]] = []
    at = 0
    for note in notes:
        at += int(np.flatnonzero(t[at:] == note.t)[0])
        found.append((at, note.text))
    ends = [begin for begin, _ in found[1:]] + [len(t)]
    return [(begin, end, text) for (begin, text), end in zip(found, ends, strict=True)]


def _part(batch: SampleBatch, rows: NDArray[np.intp]) -> SampleBatch:
    return replace(batch, t=batch.t[rows], values=batch.values[rows])


HHAR = DataSet(
    name="hhar",
    title="HHAR (Heterogeneity Activity Recognition)",
    placements=("waist", "wrist"),
    labels=("walking", "upstairs", "downstairs", "sitting", "standing", "cycling"),
    people=9,
    rate_hz="50-200",
    units="m/s², rad/s",
    terms="CC BY 4.0 at UCI",
    citation="Stisen et al. 2015, Smart Devices are Different",
    obtain="https://archive.ics.uci.edu/dataset/344",
    url="https://archive.ics.uci.edu/static/public/344/heterogeneity+activity+recognition.zip",
    archives=("heterogeneity+activity+recognition.zip", "Activity recognition exp.zip"),
    folders=("Activity recognition exp",),
    inner=r"Activity recognition exp\.zip",
    split=Split(validation=(7,), test=(8, 9)),
    read=_read,
)
