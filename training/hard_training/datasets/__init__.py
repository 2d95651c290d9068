"""The public data sets, as recordings in the values of `hard.api`, with their labels over time.

Reads the authors' archives or folders as downloaded.  Knows nothing of windows or models: those
are cut by `hard_training.windows` with the edge's own code.  Called by training and evaluation.

One module a data set, found by being here (`CONTRIBUTING.md` has the recipe).  Besides:

    recordings  the values that loaders yield, and their errors
    labels      the one vocabulary
    archive     zip, zip in zip, tar.gz and folder, read alike
    data_set    `DataSet`: what is said of one, and how its archive is found
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from hard_training.datasets.archive import on_disk
from hard_training.datasets.data_set import DataSet
from hard_training.datasets.own import recorded_in
from hard_training.datasets.recordings import (
    PERIOD_NS,
    DataMissing,
    DataUnusable,
    Recording,
    Segment,
    Split,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DATA_SETS",
    "PERIOD_NS",
    "DataMissing",
    "DataSet",
    "DataUnusable",
    "Recording",
    "Segment",
    "Split",
    "data_folder",
    "data_set_named",
    "for_placement",
    "on_disk",
    "recorded_in",
]

_TRAINED_ON = {"pocket": "motionsense", "waist": "hapt"}
"""What a placement's model is trained on, where several would do."""


def _registered() -> Iterator[DataSet]:
    """Yield what the modules of this folder define: a new data set is a new file, no more."""
    for module in iter_modules(__path__):
        for value in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, DataSet):
                yield value


DATA_SETS = {data_set.name: data_set for data_set in _registered()}
"""By name, in the order of their files' names."""


def data_folder(given: Path | None) -> Path:
    """Return the folder of the data sets: `given`, else $HARD_DATA, else ../shared/data."""
    return given or Path(os.environ.get("HARD_DATA") or "../shared/data")


def data_set_named(name: str) -> DataSet:
    """Return a data set by NAME, or by NAME:PLACEMENT; raise `DataMissing` for others.

    >>> data_set_named("realworld:thigh").placement
    'thigh'
    """
    known, _, placement = name.partition(":")
    if known not in DATA_SETS:
        raise DataMissing(f"no data set {known!r}; there are {', '.join(DATA_SETS)}")
    return DATA_SETS[known].at(placement) if placement else DATA_SETS[known]


def for_placement(placement: str) -> DataSet:
    """Return the data set that a placement's model is trained on; `DataMissing` for others."""
    if placement in _TRAINED_ON:
        return DATA_SETS[_TRAINED_ON[placement]].at(placement)
    for data_set in DATA_SETS.values():
        if placement in data_set.placements:
            return data_set.at(placement)
    every = (p for data_set in DATA_SETS.values() for p in data_set.placements)
    known = ", ".join(dict.fromkeys([*_TRAINED_ON, *every]))
    raise DataMissing(f"no data set for placement {placement!r}; there are {known}")
