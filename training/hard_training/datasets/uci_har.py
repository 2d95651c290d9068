"""UCI HAR: windows of 2.56 s cut from HAPT's recordings, filtered by their authors.

The archive at UCI holds `UCI HAR Dataset.zip` (and what a Mac left beside), in it
`train/Inertial Signals/total_acc_x_train.txt` and its relatives; windows that overlap are joined
again by the parser.  The same people as HAPT's: the two are never independent.  Anguita et al.
2013.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hard.api import SampleBatch
from hard_training.datasets.archive import unpacked
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.hapt import OFFICIAL_TEST, VALIDATION
from hard_training.datasets.recordings import DataUnusable, Split, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard.api import Message
    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["UCI_HAR"]

_SIGNALS = tuple(f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz")


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield one recording per person."""
    archive, defects = loading.archive, loading.defects
    for first, match in archive.files(r"total_acc_x_(train|test)\.txt"):
        part, above = match[1], first.path.parent.parent
        members = [archive.needed(first.beside(f"{signal}_{part}.txt")) for signal in _SIGNALS[1:]]
        members += [archive.needed(above / f"{what}_{part}.txt") for what in ("subject", "y")]
        of_person: dict[str, list[Message]] = defaultdict(list)
        with unpacked(first, *members) as file:
            for message in parsed(file, "uci_har", defects):
                stream = next(b.stream for b in message if isinstance(b, SampleBatch))
                of_person[stream.rpartition("-")[2]].append(message)
        for person, messages in of_person.items():
            if not person.isdigit():
                raise DataUnusable(
                    f"{archive.name}: subject_{part}.txt has fewer people than there are windows"
                )
            yield recorded(f"{part}-{person}", int(person), messages, defects)


UCI_HAR = DataSet(
    name="uci-har",
    title="UCI HAR (Human Activity Recognition Using Smartphones)",
    placements=("waist",),
    labels=("walking", "upstairs", "downstairs", "sitting", "standing", "laying"),
    people=30,
    rate_hz="50",
    units="g, rad/s",
    terms="its README forbids commercial use, its page at UCI lists CC BY 4.0",
    citation="Anguita et al. 2013, A Public Domain Dataset for Human Activity Recognition Using "
    "Smartphones",
    obtain="https://archive.ics.uci.edu/dataset/240",
    url=(
        "https://archive.ics.uci.edu/static/public/240/"
        "human+activity+recognition+using+smartphones.zip"
    ),
    archives=("human+activity+recognition+using+smartphones.zip", "UCI HAR Dataset.zip"),
    folders=("UCI HAR Dataset",),
    inner=r"UCI HAR Dataset\.zip",
    split=Split(validation=VALIDATION, test=OFFICIAL_TEST),
    official_split=True,
    read=_read,
)
