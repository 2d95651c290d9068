"""RealWorld (HAR): phones and a watch at seven positions of 15 people, outdoors, about 50 Hz.

`proband1/data/acc_walking_csv.zip` holds `acc_walking_waist.csv` and the other positions,
`gyr_walking_csv.zip` the `Gyroscope_` twins; what was recorded in several parts is zipped once more
within (`acc_climbingup_1_csv.zip`), or has the part's number in its files' names.  Sztyler and
Stuckenschmidt 2016.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hard_training.datasets.archive import open_archive, unpacked
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.labels import canonical
from hard_training.datasets.recordings import Split, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard_training.datasets.archive import Archive, Member
    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["REALWORLD"]

_POSITION = {
    "waist": "waist",
    "thigh": "thigh",
    "chest": "chest",
    "upper_arm": "upperarm",
    "forearm": "forearm",
    "shin": "shin",
    "head": "head",
}
_PARTS = r"(?:acc|gyr)_.*_csv\.zip"


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield a recording for each part of each activity of each person."""
    archive = loading.archive
    for accel, match in archive.files(r"acc_([a-z]+)_csv\.zip"):
        person = re.search(r"proband(\d+)", str(accel.path))
        label = canonical(match[1])
        if person is None or label is None:
            loading.defects["unknown_label"] += 1
            continue
        gyro = archive.members.get(accel.beside(f"gyr_{match[1]}_csv.zip"))
        yield from _activity(accel, gyro, int(person[1]), label, loading)


def _activity(
    accel: Member, gyro: Member | None, person: int, label: str, loading: Loading
) -> Iterator[Recording]:
    """Yield one activity's parts; a part without a gyroscope is counted and left as it is."""
    position = _POSITION[loading.placement]
    with ExitStack() as stack:
        opened = [
            _parts(stack.enter_context(open_archive(member, _PARTS)), position) if member else {}
            for member in (accel, gyro)
        ]
        loading.defects["no_accelerometer"] += not opened[0]
        for part, member in sorted(opened[0].items()):
            name = f"_walking_{position}.csv"  # what was done is known; the parser wants a word
            files = [replace(member, path=PurePosixPath(f"acc{name}"), local=None)]
            if part in opened[1]:
                twin = PurePosixPath(f"Gyroscope{name}")
                files.append(replace(opened[1][part], path=twin, local=None))
            loading.defects["no_gyroscope"] += len(files) == 1
            with unpacked(*files) as file:
                messages = list(parsed(file, "realworld", loading.defects))
            yield whole(f"{person}-{label}-{part}", person, messages, label, order=part)


def _parts(archive: Archive, position: str) -> dict[int, Member]:
    """Return one sensor's files by part: the number in its name, or in that of the zip around."""
    found = {}
    for path, member in sorted(archive.members.items()):
        match = re.fullmatch(rf"(?:acc|Gyroscope)_[a-z]+(?:_(\d))?_{position}\.csv", path.name)
        if match is not None:
            around = re.search(r"_(\d)_csv\.zip", str(path.parent))
            part = match[1] or (around[1] if around else "1")
            found[int(part)] = member
    return found


REALWORLD = DataSet(
    name="realworld",
    title="RealWorld (HAR)",
    placements=tuple(_POSITION),
    labels=("walking", "upstairs", "downstairs", "running", "sitting", "standing", "laying"),
    more_labels=("jumping",),
    people=15,
    rate_hz="50",
    units="m/s², rad/s",
    terms="none stated with it",
    citation="Sztyler and Stuckenschmidt 2016, On-body Localization of Wearable Devices",
    obtain="https://www.uni-mannheim.de/dws/research/projects/activity-recognition/dataset/"
    "dataset-realworld/",
    url=(
        "http://wifo5-14.informatik.uni-mannheim.de/sensor/dataset/realworld2016/"
        "realworld2016_dataset.zip"
    ),
    archives=("realworld2016_dataset.zip",),
    folders=("realworld2016_dataset",),
    split=Split(validation=(5, 10), test=(3, 8, 13)),
    read=_read,
)
