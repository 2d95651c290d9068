"""MotionSense: an iPhone 6s in the front trouser pocket, DeviceMotion at 50 Hz.

`A_DeviceMotion_data/<act>_<trial>/sub_<n>.csv`, one activity a trial.  Malekzadeh et al. 2019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard_training.augmentation import Augmentation
from hard_training.datasets.archive import on_disk
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.labels import canonical
from hard_training.datasets.recordings import Split, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["MOTIONSENSE"]


def _read(loading: Loading) -> Iterator[Recording]:
    """Yield one recording per trial, each of one activity throughout."""
    for member, match in loading.archive.files(r"sub_(\d+)\.csv"):
        trial = member.path.parent.name
        activity, _, number = trial.partition("_")
        label = canonical(activity)
        if label is None or not number.isdigit():
            loading.defects["unknown_label"] += 1
            continue
        with on_disk(member) as file:
            messages = list(parsed(file, "motionsense", loading.defects))
        name = f"{trial}/{member.name}"
        yield whole(name, int(match[1]), messages, label, order=int(number))


MOTIONSENSE = DataSet(
    name="motionsense",
    title="MotionSense",
    placements=("pocket",),
    labels=("downstairs", "upstairs", "walking", "running", "sitting", "standing"),
    people=24,
    rate_hz="50",
    units="g, rad/s",
    terms="MIT in the authors' repository",
    citation="Malekzadeh, Clegg, Cavallaro and Haddadi 2019, Mobile Sensor Data Anonymization",
    obtain="https://github.com/mmalekzadeh/motion-sense",
    url="https://github.com/mmalekzadeh/motion-sense/raw/master/data/A_DeviceMotion_data.zip",
    archives=("A_DeviceMotion_data.zip", "motionsense.zip"),
    folders=("A_DeviceMotion_data",),
    split=Split(validation=(4, 10, 16, 24), test=(3, 9, 15, 20, 23)),
    augmentation=Augmentation(
        turn_deg=(10, 40, 10),
        gain=0.05,
        accel_bias_m_s2=0.2,
        gyro_bias_rad_s=0.02,
        half_turn=1,
        mirror=0,
    ),
    read=_read,
)
