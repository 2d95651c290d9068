"""What is known of the data sets and what is found in one: for `hard-train datasets`.

Reads everything when it checks, through the edge's conditioning; never trains.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from hard.card import ModelInput
from hard_training.datasets import DATA_SETS
from hard_training.windows import on_grid

if TYPE_CHECKING:
    from pathlib import Path

    from hard_training.datasets import DataSet

__all__ = ["check", "listed"]

_INPUT = ModelInput(
    channels=("accel_x", "accel_y", "accel_z"),
    sampling_rate_hz=50,
    window_samples=128,
    stride_samples=64,
)


def listed(data: Path) -> list[dict[str, Any]]:
    """Return a row per data set; `found` is where it lies below `data`, None where it does not."""
    return [_row(data_set, data) for data_set in DATA_SETS.values()]


def _row(data_set: DataSet, data: Path) -> dict[str, Any]:
    found = data_set.container(data)
    return {
        "name": data_set.name,
        "title": data_set.title,
        "placements": data_set.placements,
        "people": data_set.people or None,
        "labels": data_set.labels,
        "more_labels": data_set.more_labels,
        "rate_hz": data_set.rate_hz,
        "units": data_set.units,
        "licence": data_set.terms,
        "cite": data_set.citation,
        "obtain": data_set.obtain,
        "url": data_set.url,
        "archives": data_set.archives,
        "test_people": data_set.split.test,
        "validation_people": data_set.split.validation,
        "official_split": data_set.official_split,
        "found": None if found is None else str(found),
    }


def check(data_set: DataSet, data: Path) -> dict[str, Any]:
    """Read all of a data set; return what is in it, and what is wrong with it.

    `minutes` by label as labelled; `defects` by the loader's words, in rows; `dropped` by the
    edge's conditioning (accelerometer alone, 50 Hz), in samples.  Raises `DataMissing`.
    """
    defects, dropped = Counter[str](), Counter[str]()
    minutes: dict[str, float] = defaultdict(float)
    people: set[int] = set()
    n, usable_s = 0, 0.0
    for recording in data_set.recordings(data, defects):
        n += 1
        people.add(recording.person)
        for segment in recording.segments:
            minutes[segment.label] += (segment.t_end_ns - segment.t_start_ns) / 60e9
        grid = on_grid(recording, _INPUT, dropped)
        usable_s += sum(int(block.valid.sum()) for block in grid.blocks) / _INPUT.sampling_rate_hz
    return {
        "name": data_set.name,
        "placement": data_set.placement,
        "recordings": n,
        "people": len(people),
        "usable_hours": round(usable_s / 3600, 2),
        "minutes": {label: round(minutes[label], 1) for label in sorted(minutes)},
        "defects": dict(sorted((+defects).items())),
        "dropped": dict(sorted((+dropped).items())),
    }
