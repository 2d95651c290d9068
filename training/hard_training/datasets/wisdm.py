"""WISDM v1.1 (a phone in the pocket) and 2019 (phone in the pocket, watch on the wrist), 20 Hz.

v1.1 is `WISDM_ar_latest.tar.gz` with `WISDM_ar_v1.1/WISDM_ar_v1.1_raw.txt` (accelerometer only);
2019 is UCI's no. 507, a zip with `wisdm-dataset.zip` in it, there
`wisdm-dataset/raw/phone/accel/data_1600_accel_phone.txt` and so on.  Kwapisz et al. 2010, Weiss et
al. 2019.

Known defects, counted: broken lines (`wrong_columns`, `not_a_number`), lines without a time
(`no_time`), readings of zero on all axes, which no worn sensor gives (`zero_reading`, left out),
and jumps of the device's clock (`time_jump`: backwards, or more than 10 s ahead; conditioning ends
its segment there).  A recording is one stretch of one activity, so a jump never moves a label.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hard.api import NS_PER_S, Annotation, SampleBatch
from hard_training.datasets.archive import on_disk, unpacked
from hard_training.datasets.data_set import DataSet, parsed
from hard_training.datasets.labels import canonical, is_known
from hard_training.datasets.recordings import Split, whole

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator

    from hard.api import Message
    from hard_training.datasets.data_set import Loading
    from hard_training.datasets.recordings import Recording

__all__ = ["WISDM_2019", "WISDM_V1_1"]

_PERIOD_NS = NS_PER_S // 20
_JUMP_NS = 10 * NS_PER_S
_DEVICE = {"pocket": "phone", "wrist": "watch"}
_ACTIVITIES = {
    "A": "walking",
    "B": "running",
    "C": "stairs",
    "D": "sitting",
    "E": "standing",
    "F": "typing",
    "G": "brushing_teeth",
    "H": "eating",
    "I": "eating",
    "J": "eating",
    "K": "drinking",
    "L": "eating",
    "M": "soccer",
    "O": "catching",
    "P": "dribbling",
    "Q": "writing",
    "R": "clapping",
    "S": "folding",
}
"""By the letters of 2019's `activity_key.txt`; there is no N."""


@dataclass(slots=True)
class _Stretch:
    """What one person measured during one activity."""

    person: int
    label: str | None
    batches: list[SampleBatch] = field(default_factory=list)


def _read_v1_1(loading: Loading) -> Iterator[Recording]:
    defects = loading.defects
    for member, _ in loading.archive.files(r"WISDM_ar_v1\.1_raw\.txt"):
        with on_disk(member) as file:
            stretches = _stretches(parsed(file, "wisdm", defects), defects)
            for number, stretch in enumerate(stretches):
                yield from _recording(stretch, number, defects)


def _read_2019(loading: Loading) -> Iterator[Recording]:
    archive, defects = loading.archive, loading.defects
    device = _DEVICE[loading.placement]
    for accel, match in archive.files(rf"data_(\d+)_accel_{device}\.txt"):
        folder = accel.path.parent.with_name("gyro")
        gyro = archive.members.get(folder / f"data_{match[1]}_gyro_{device}.txt")
        defects["no_gyroscope"] += gyro is None
        with unpacked(accel, *([gyro] if gyro else [])) as file:
            for number, message in enumerate(parsed(file, "wisdm", defects)):
                code = next(p.text for p in message if isinstance(p, Annotation))
                batches = [p for p in message if isinstance(p, SampleBatch)]
                stretch = _Stretch(int(match[1]), _label(code, defects), batches)
                yield from _recording(stretch, number, defects)


def _label(text: str, defects: Counter[str]) -> str | None:
    label = _ACTIVITIES.get(text) or canonical(text)
    defects["unknown_label"] += label is None and not is_known(text)
    return label


def _stretches(messages: Iterable[Message], defects: Counter[str]) -> Iterator[_Stretch]:
    """Yield v1.1's lines by person and activity, in file order.

    A message holds each person's batch and, behind it, the changes of label in it.
    """
    labels: dict[str, str] = {}
    current: _Stretch | None = None
    for message in messages:
        for batch in (part for part in message if isinstance(part, SampleBatch)):
            notes = [p for p in message if isinstance(p, Annotation) and p.stream == batch.stream]
            for part, text in _parts(batch, notes, labels.get(batch.stream, "")):
                labels[batch.stream] = text
                person = int(batch.stream.rpartition("-")[2])
                label = _label(text, defects) if text else None
                if current is None or (current.person, current.label) != (person, label):
                    if current is not None:
                        yield current
                    current = _Stretch(person, label)
                current.batches.append(part)
    if current is not None:
        yield current


def _parts(
    batch: SampleBatch, notes: Iterable[Annotation], before: str
) -> Iterator[tuple[SampleBatch, str]]:
    """Cut a batch where its labels change; a change is at the first row of its time behind."""
    begin, text = 0, before
    for note in notes:
        found = np.flatnonzero(batch.t[begin:] == note.t)
        if not len(found):
            continue
        at = begin + int(found[0])
        if at > begin:
            yield _slice(batch, begin, at), text
        begin, text = at, note.text
    yield _slice(batch, begin, len(batch)), text


def _slice(batch: SampleBatch, begin: int, end: int) -> SampleBatch:
    return replace(batch, t=batch.t[begin:end], values=batch.values[begin:end])


def _recording(stretch: _Stretch, number: int, defects: Counter[str]) -> Iterator[Recording]:
    """Yield the stretch without readings of zero, unless nothing or no label is left."""
    if stretch.label is None:
        return
    message: list[SampleBatch] = []
    for batch in stretch.batches:
        kept = batch
        if batch.sensor == "accel":
            real = batch.values.any(axis=1)
            defects["zero_reading"] += int((~real).sum())
            kept = replace(batch, t=batch.t[real], values=batch.values[real])
        if len(kept):
            message.append(kept)
    accel = [batch.t for batch in message if batch.sensor == "accel"]
    if not accel:
        return
    steps = np.diff(np.concatenate(accel))
    defects["time_jump"] += int(((steps < 0) | (steps > _JUMP_NS)).sum())
    messages = [(batch,) for batch in message] if len(message) > 2 else [tuple(message)]
    name = f"{stretch.person}-{number}-{stretch.label}"
    yield whole(name, stretch.person, messages, stretch.label, order=number, period_ns=_PERIOD_NS)


WISDM_V1_1 = DataSet(
    name="wisdm-v1.1",
    title="WISDM v1.1",
    placements=("pocket",),
    labels=("walking", "running", "upstairs", "downstairs", "sitting", "standing"),
    people=36,
    rate_hz="20",
    units="m/s², no gyroscope",
    terms="none stated with it",
    citation="Kwapisz, Weiss and Moore 2010, Activity Recognition using Cell Phone Accelerometers",
    obtain="https://www.cis.fordham.edu/wisdm/dataset.php",
    url="https://www.cis.fordham.edu/wisdm/includes/datasets/latest/WISDM_ar_latest.tar.gz",
    archives=("WISDM_ar_latest.tar.gz",),
    folders=("WISDM_ar_v1.1",),
    split=Split(validation=(4, 11, 18, 25, 32), test=(5, 10, 15, 20, 30, 35)),
    read=_read_v1_1,
)

WISDM_2019 = DataSet(
    name="wisdm-2019",
    title="WISDM 2019 (Smartphone and Smartwatch Activity and Biometrics)",
    placements=("pocket", "wrist"),
    labels=("walking", "running", "stairs", "sitting", "standing"),
    more_labels=tuple(dict.fromkeys(list(_ACTIVITIES.values())[5:])),
    people=51,
    rate_hz="20",
    units="m/s², rad/s",
    terms="CC BY 4.0 at UCI",
    citation="Weiss, Yoneda and Hayajneh 2019, Smartphone and Smartwatch-Based Biometrics Using "
    "Activities of Daily Living",
    obtain="https://archive.ics.uci.edu/dataset/507",
    url=(
        "https://archive.ics.uci.edu/static/public/507/"
        "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"
    ),
    archives=(
        "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip",
        "wisdm-dataset.zip",
    ),
    folders=("wisdm-dataset",),
    inner=r"wisdm-dataset\.zip",
    split=Split(validation=tuple(range(1602, 1651, 10)), test=tuple(range(1605, 1651, 5))),
    read=_read_2019,
)
