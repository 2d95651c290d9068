"""The public data sets, as recordings in the values of `hard.api`, with their labels over time.

Reads the authors' archives or folders as downloaded.  Knows nothing of windows or models: those
are cut by `hard_training.windows` with the edge's own code.  Called by training and evaluation.
"""

from __future__ import annotations

import os
import re
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from hard.api import Declared, SampleBatch
from hard_file import Options, open_recording
from hard_training.augmentation import Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.resources.abc import Traversable

    from numpy.typing import NDArray

    from hard.api import Message

__all__ = [
    "DATA_SETS",
    "DataMissing",
    "DataSet",
    "Recording",
    "Segment",
    "Split",
    "data_folder",
    "for_placement",
    "on_disk",
]

PERIOD_NS = 20_000_000
_SAMPLES_PER_MESSAGE = 500


class DataMissing(Exception):  # noqa: N818 - a state of the user's disk, told to the user
    """The data set isn't there; the message says where it was looked for and where to get it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of one label, from `t_start_ns` up to but not including `t_end_ns`."""

    t_start_ns: int
    t_end_ns: int
    label: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What one person did in one go: messages as a source would emit them, labels over time.

    Stamps count from epoch 0.  `segments` ascend and don't overlap; time in none is unlabelled.
    `order` ascends with the time at which a person's recordings were made.
    """

    name: str
    person: int
    messages: tuple[Message, ...]
    segments: tuple[Segment, ...]
    order: int = 0

    def labels_at(self, t: NDArray[np.int64]) -> list[str | None]:
        """Return the label at each time of `t` (ns), None where there is none."""
        starts = np.array([s.t_start_ns for s in self.segments], np.int64)
        found = np.searchsorted(starts, t, side="right") - 1
        return [
            self.segments[i].label if i >= 0 and at < self.segments[i].t_end_ns else None
            for i, at in zip(found, t, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Split:
    """Who is tested and who is validated on; everybody else is trained on."""

    validation: tuple[int, ...]
    test: tuple[int, ...]

    def part(self, person: int) -> str:
        """Return "train", "validation" or "test"."""
        if person in self.test:
            return "test"
        return "validation" if person in self.validation else "train"


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set: how its archive is found and read, and what may be said about it.

    `folder` is the folder inside the archive, `archives` are the file names it goes by.
    """

    name: str
    title: str
    placement: str
    labels: tuple[str, ...]
    folder: str
    archives: tuple[str, ...]
    obtain: str
    licence: str
    split: Split
    augmentation: Augmentation
    read: Callable[[Traversable], Iterator[Recording]]

    def recordings(self, data: Path) -> Iterator[Recording]:
        """Yield every recording below `data`; raise `DataMissing` where there is no archive."""
        with self._opened(data) as root:
            yield from self.read(root)

    def is_in(self, data: Path) -> bool:
        """Tell whether `recordings` would find anything."""
        return self._container(data) is not None

    def _container(self, data: Path) -> Path | None:
        """Return the archive or the unpacked folder that holds `folder`."""
        for path in (data, *(data / name for name in (self.name, *self.archives))):
            if (path / self.folder).is_dir():
                return path
            if path.is_file() and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    if (zipfile.Path(archive) / self.folder).is_dir():
                        return path
        return None

    @contextmanager
    def _opened(self, data: Path) -> Iterator[Traversable]:
        container = self._container(data)
        if container is None:
            raise DataMissing(
                f"{data}: no {self.title} there (looked for {self.folder}/ and "
                f"{' or '.join(self.archives)}); get it from {self.obtain} and point --data or "
                "$HARD_DATA at the folder that holds it"
            )
        if container.is_dir():
            yield container / self.folder
        else:
            with zipfile.ZipFile(container) as archive:
                yield zipfile.Path(archive) / self.folder


def data_folder(given: Path | None) -> Path:
    """Return the folder of the data sets: `given`, else $HARD_DATA, else ../shared/data."""
    return given or Path(os.environ.get("HARD_DATA") or "../shared/data")


def _children(folder: Traversable) -> list[Traversable]:
    return sorted(folder.iterdir(), key=lambda path: path.name)


# --- MotionSense: an iPhone in the front trouser pocket ----------------------------------------

_MOTIONSENSE_LABELS = {
    "dws": "downstairs",
    "ups": "upstairs",
    "wlk": "walking",
    "jog": "running",
    "sit": "sitting",
    "std": "standing",
}


def _read_motionsense(root: Traversable) -> Iterator[Recording]:
    """Yield one recording per trial, each of one activity throughout."""
    for trial in _children(root):
        label = _MOTIONSENSE_LABELS.get(trial.name.split("_")[0])
        if label is None:
            continue
        for path in _children(trial):
            if person := re.fullmatch(r"sub_(\d+)\.csv", path.name):
                name, number = f"{trial.name}/{path.name}", int(trial.name.split("_")[1])
                yield _motionsense_trial(path, name, int(person[1]), label, number)


def _motionsense_trial(
    path: Traversable, name: str, person: int, label: str, number: int
) -> Recording:
    with on_disk(path) as file:
        messages = tuple(open_recording(file, Options(format="motionsense")).messages())
    batches = [b for message in messages for b in message if isinstance(b, SampleBatch)]
    end_ns = int(batches[-1].t[-1]) + PERIOD_NS
    return Recording(name, person, messages, (Segment(0, end_ns, label),), number)


@contextmanager
def on_disk(path: Traversable) -> Iterator[Path]:
    """Give a member of an archive as a file of its own, which is what the parser reads."""
    if isinstance(path, Path):
        yield path
        return
    with TemporaryDirectory(prefix="hard-train-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        yield copy


# --- HAPT: a Galaxy S II at the waist ----------------------------------------------------------

_HAPT_LABELS = (
    "walking",
    "upstairs",
    "downstairs",
    "sitting",
    "standing",
    "laying",
    "stand_to_sit",
    "sit_to_stand",
    "sit_to_lie",
    "lie_to_sit",
    "stand_to_lie",
    "lie_to_stand",
)


def _read_hapt(root: Traversable) -> Iterator[Recording]:
    """Yield one recording per experiment; `labels.txt` counts samples from 1, both ends in."""
    segments: dict[int, list[Segment]] = {}
    for line in (root / "labels.txt").read_text("utf-8").splitlines():
        experiment, _, code, first, last = map(int, line.split())
        segments.setdefault(experiment, []).append(
            Segment((first - 1) * PERIOD_NS, last * PERIOD_NS, _HAPT_LABELS[code - 1])
        )
    for path in _children(root):
        if found := re.fullmatch(r"acc_(exp(\d+)_user(\d+))\.txt", path.name):
            name, experiment, person = found[1], int(found[2]), int(found[3])
            accel, gyro = (_table(root / f"{kind}_{name}.txt") for kind in ("acc", "gyro"))
            ordered = sorted(segments.get(experiment, []), key=lambda s: s.t_start_ns)
            messages = _messages(name, accel, gyro, Declared("g", sign=1))
            yield Recording(name, person, messages, tuple(ordered), experiment)


def _table(path: Traversable) -> NDArray[np.float64]:
    with path.open(encoding="utf-8") as lines:
        return np.loadtxt(lines, ndmin=2)


def _messages(
    stream: str, accel: NDArray[np.float64], gyro: NDArray[np.float64], accel_is: Declared
) -> tuple[Message, ...]:
    """Cut float64[n, 3] in g and rad/s into the messages of a source at 50 Hz from epoch 0."""
    t = np.arange(len(accel), dtype=np.int64) * PERIOD_NS
    gyro_is = Declared("rad/s")
    return tuple(
        (
            SampleBatch(stream, "accel", t[part], accel[part].astype(np.float32), accel_is),
            SampleBatch(stream, "gyro", t[part], gyro[part].astype(np.float32), gyro_is),
        )
        for part in (
            slice(i, i + _SAMPLES_PER_MESSAGE) for i in range(0, len(t), _SAMPLES_PER_MESSAGE)
        )
    )


DATA_SETS = {
    "motionsense": DataSet(
        name="motionsense",
        title="MotionSense",
        placement="pocket",
        labels=("downstairs", "upstairs", "walking", "running", "sitting", "standing"),
        folder="A_DeviceMotion_data",
        archives=("motionsense.zip", "A_DeviceMotion_data.zip"),
        obtain="https://github.com/mmalekzadeh/motion-sense",
        licence=(
            "MotionSense: MIT in the authors' repository; cite Malekzadeh, Clegg, Cavallaro and "
            "Haddadi 2019, Mobile Sensor Data Anonymization"
        ),
        split=Split(validation=(4, 10, 16, 24), test=(3, 9, 15, 20, 23)),
        augmentation=Augmentation(
            turn_deg=(10, 40, 10),
            gain=0.05,
            accel_bias_m_s2=0.2,
            gyro_bias_rad_s=0.02,
            half_turn=1,
            mirror=0,
        ),
        read=_read_motionsense,
    ),
    "hapt": DataSet(
        name="hapt",
        title="HAPT (Smartphone-Based Recognition of Human Activities and Postural Transitions)",
        placement="waist",
        labels=_HAPT_LABELS[:6],
        folder="RawData",
        archives=("hapt.zip", "HAPT Data Set.zip"),
        obtain="https://archive.ics.uci.edu/dataset/341",
        licence=(
            "HAPT: its README forbids commercial use, its page at UCI lists CC BY 4.0; cite "
            "Reyes-Ortiz et al. 2016, Transition-Aware Human Activity Recognition"
        ),
        split=Split(validation=(5, 11, 17, 23, 28), test=(2, 4, 9, 10, 12, 13, 18, 20, 24)),
        augmentation=Augmentation(
            turn_deg=(5, 5, 5), gain=0.03, accel_bias_m_s2=0.2, gyro_bias_rad_s=0.02
        ),
        read=_read_hapt,
    ),
}


def for_placement(placement: str) -> DataSet:
    """Return the data set that a placement's model is trained on; `DataMissing` for others."""
    for data_set in DATA_SETS.values():
        if data_set.placement == placement:
            return data_set
    known = ", ".join(d.placement for d in DATA_SETS.values())
    raise DataMissing(f"no data set for placement {placement!r}; there are {known}")
