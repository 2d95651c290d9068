"""HAPT: a Galaxy S II at the waist, raw at 50 Hz, six activities and six transitions between them.

`RawData/acc_expNN_userMM.txt` with its `gyro_` twin and `labels.txt`: the raw recordings behind UCI
HAR, of the same people.  Reyes-Ortiz et al. 2016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard_training.augmentation import Augmentation
from hard_training.datasets.archive import unpacked
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.labels import TRANSITIONS
from hard_training.datasets.recordings import Split, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["HAPT", "OFFICIAL_TEST", "VALIDATION"]

OFFICIAL_TEST = (2, 4, 9, 10, 12, 13, 18, 20, 24)
"""The authors' test people, of UCI HAR as well."""
VALIDATION = (5, 11, 17, 23, 28)


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield one recording per experiment."""
    archive, defects = loading.archive, loading.defects
    for accel, match in archive.files(r"acc_(exp(\d+)_user(\d+))\.txt"):
        gyro = archive.needed(accel.beside(f"gyro_{match[1]}.txt"))
        labels = archive.needed(accel.beside("labels.txt"))
        with unpacked(accel, gyro, labels) as file:
            messages = list(parsed(file, "hapt", defects))
        # The phone was put on again in between: what was up in one is not in another.
        device, order = f"experiment {int(match[2])}", int(match[2])
        yield recorded(match[1], int(match[3]), messages, defects, order=order, device=device)


HAPT = DataSet(
    name="hapt",
    title="HAPT (Smartphone-Based Recognition of Human Activities and Postural Transitions)",
    placements=("waist",),
    labels=("walking", "upstairs", "downstairs", "sitting", "standing", "laying"),
    more_labels=TRANSITIONS,
    people=30,
    rate_hz="50",
    units="g, rad/s",
    terms="its README forbids commercial use, its page at UCI lists CC BY 4.0",
    citation="Reyes-Ortiz et al. 2016, Transition-Aware Human Activity Recognition",
    obtain="https://archive.ics.uci.edu/dataset/341",
    url=(
        "https://archive.ics.uci.edu/static/public/341/"
        "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip"
    ),
    archives=(
        "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip",
        "hapt.zip",
        "HAPT Data Set.zip",
    ),
    folders=("RawData", "HAPT Data Set"),
    inner=r"HAPT Data Set\.zip",
    split=Split(validation=VALIDATION, test=OFFICIAL_TEST),
    official_split=True,
    augmentation=Augmentation(
        turn_deg=(5, 5, 5), gain=0.03, accel_bias_m_s2=0.2, gyro_bias_rad_s=0.02
    ),
    read=_read,
)
