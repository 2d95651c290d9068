"""SP-SW-HAR: an Android phone in the pocket, a watch on the wrist, about 100 Hz, ten seconds each.

`DATA/sNN/sNN_EE_sp.csv` (phone) and `_sw.csv` (watch), real stamps in ms, some repeated: too short
to train on, good to test on.  The turn between two walks is on foot and counts as walking.
Matey-Sanz et al. 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard_training.datasets.archive import on_disk
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.recordings import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["SP_SW_HAR"]

_DEVICE = {"pocket": "sp", "wrist": "sw"}


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield one recording per execution."""
    device = _DEVICE[loading.placement]
    for member, match in loading.archive.files(rf"s(\d+)_(\d+)_{device}\.csv"):
        with on_disk(member) as file:
            messages = list(parsed(file, "sp_sw_har", loading.defects))
        person, execution = int(match[1]), int(match[2])
        yield recorded(member.name, person, messages, loading.defects, order=execution)


SP_SW_HAR = DataSet(
    name="sp-sw-har",
    title="SP-SW-HAR",
    placements=("pocket", "wrist"),
    labels=("sitting", "walking"),
    more_labels=("sit_to_stand", "stand_to_sit"),
    people=23,
    rate_hz="100",
    units="m/s², rad/s",
    terms="CC BY 4.0",
    citation="Matey-Sanz, Casteleyn and Granell 2023, Data in Brief",
    obtain="https://doi.org/10.5281/zenodo.8398688",
    url="https://zenodo.org/api/records/8398688/files-archive",
    archives=("sp-sw-har.zip",),
    folders=("DATA",),
    inner=r".*sp-sw-har.*\.zip",
    read=_read,
)
