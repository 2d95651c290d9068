"""PAMAP2: IMUs at chest, wrist and ankle, 100 Hz, 18 activities of daily life.

UCI's no. 231 is a zip with `PAMAP2_Dataset.zip` in it, there
`PAMAP2_Dataset/Protocol/subject101.dat` and, of some people, `Optional/`.  What the radio lost is
counted as `not_finite`.  Reiss and Stricker 2012.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard_training.datasets.archive import on_disk
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.recordings import Split, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["PAMAP2"]

_POSITION = {"chest": "chest", "wrist": "hand", "ankle": "ankle"}
_ORDER = {"Protocol": 0, "Optional": 1}


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield one recording per person and session."""
    stream = f"-{_POSITION[loading.placement]}"
    for member, match in loading.archive.files(r"subject(\d+)\.dat"):
        session = member.path.parent.name
        with on_disk(member) as file:
            messages = [
                [part for part in message if part.stream.endswith(stream)]
                for message in parsed(file, "pamap2", loading.defects)
            ]
        name, order = f"{session}/{match[1]}", _ORDER.get(session, 0)
        yield recorded(name, int(match[1]), messages, loading.defects, order=order)


PAMAP2 = DataSet(
    name="pamap2",
    title="PAMAP2 (Physical Activity Monitoring)",
    placements=("chest", "wrist", "ankle"),
    labels=(
        "walking",
        "upstairs",
        "downstairs",
        "running",
        "sitting",
        "standing",
        "laying",
        "cycling",
    ),
    more_labels=(
        "nordic_walking",
        "watching_tv",
        "computer_work",
        "driving",
        "vacuuming",
        "ironing",
        "folding",
        "house_cleaning",
        "soccer",
        "rope_jumping",
    ),
    people=9,
    rate_hz="100",
    units="m/s², rad/s",
    terms="CC BY 4.0 at UCI",
    citation="Reiss and Stricker 2012, Introducing a New Benchmarked Dataset for Activity "
    "Monitoring",
    obtain="https://archive.ics.uci.edu/dataset/231",
    url=("https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip"),
    archives=("pamap2+physical+activity+monitoring.zip", "PAMAP2_Dataset.zip"),
    folders=("PAMAP2_Dataset",),
    inner=r"PAMAP2_Dataset\.zip",
    # As Hammerla, Halloran and Plötz 2016 split it, and many after them; the authors did not.
    split=Split(validation=(105,), test=(106,)),
    read=_read,
)
