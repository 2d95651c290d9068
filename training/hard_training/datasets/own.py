"""Recordings of one's own: what `hard record` wrote, labelled while recording or after.

Every session below the folder is read, every stream is a person.  Labels are annotations in the
recording, or `STREAM.labels.csv` beside it (see `hard_file`); words are mapped like any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hard_file.hard_recording import is_hard_recording
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.recordings import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["OWN", "recorded_in"]


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield one recording per stream of a session; people are numbered by their streams' names."""
    metadata = [
        member.local
        for _, member in sorted(loading.archive.members.items())
        if member.local is not None
        and member.local.suffix == ".json"
        and is_hard_recording(member.local)
    ]
    streams = sorted({path.stem for path in metadata})
    for order, path in enumerate(metadata):
        messages = list(parsed(path, "hard", loading.defects))
        name, person = f"{path.parent.name}/{path.stem}", streams.index(path.stem) + 1
        yield recorded(name, person, messages, loading.defects, order=order)


OWN = DataSet(
    name="own",
    title="your own recordings",
    placements=("own",),
    labels=("walking", "upstairs", "downstairs", "running", "sitting", "standing", "laying"),
    people=0,
    rate_hz="as recorded",
    units="as recorded",
    terms="yours",
    citation="nobody",
    obtain="`hard record` (label them while recording, or in STREAM.labels.csv beside)",
    url=None,
    archives=(),
    folders=("own",),
    read=_read,
)


def recorded_in(folder: Path) -> DataSet:
    """Return the data set of the recordings below `folder`, wherever the others lie."""
    return replace(OWN, folders=(str(folder.resolve()),))
