"""Files that a replay leaves: predictions as CSV, a plot as PNG; written aside, then renamed.

Called by the command line.  A file appears whole or not at all.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hard.api import NS_PER_S, Annotation, SampleBatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hard.api import Message
    from hard.decision import PredictionBatch
    from hard.replay import Outcome

__all__ = ["PlainCsv", "Plot", "PredictionsCsv", "written_aside"]


@contextmanager
def written_aside(path: Path, mode: str = "w", permissions: int | None = None) -> Iterator[IO[Any]]:
    """Open a file beside `path` that takes its place when the block ends without an error.

    Its permissions are those given, else those of what was there.  Follows symbolic links; raises
    OSError for what is there and no regular file.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is there and no regular file", str(path))
    aside = path.with_name(f".{path.name}.part")
    try:
        with open(aside, mode, encoding=None if "b" in mode else "utf-8") as file:  # noqa: PTH123 - mode is any
            _permit(file.fileno(), path, permissions)
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _permit(descriptor: int, path: Path, permissions: int | None) -> None:
    """Give a new file owner and permissions of the one that it will replace, or those given."""
    with suppress(FileNotFoundError):
        before = path.stat()
        with suppress(PermissionError):  # only root may give files to others
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, before.st_mode & 0o777)
    if permissions is not None:
        os.fchmod(descriptor, permissions)


class PredictionsCsv:
    """One row a window: t_start_ns, t_end_ns, activity, confidence, and p_<label> for each label.

    With `several` streams, their name comes first.  All models must have the same labels.
    """

    def __init__(self, file: IO[str], *, several: bool) -> None:
        self._file = file
        self._several = several
        self._labels: tuple[str, ...] | None = None

    def write(self, batch: PredictionBatch, labels: tuple[str, ...]) -> None:
        """Append a batch of predictions of a model with these labels."""
        if self._labels is None:
            self._labels = labels
            names = ["t_start_ns", "t_end_ns", "activity", "confidence"]
            names = [*(["stream"] if self._several else []), *names]
            self._file.write(",".join([*names, *(f"p_{label}" for label in labels)]) + "\n")
        elif labels != self._labels:
            raise ValueError("the streams use models with different labels")
        stream = f"{batch.stream}," if self._several else ""
        best = batch.probs.argmax(axis=1).tolist()
        for row, start, end, label in zip(
            batch.probs.tolist(),
            batch.windows.t_start.tolist(),
            batch.windows.t_end.tolist(),
            best,
            strict=True,
        ):
            probs = ",".join(f"{p:.4f}" for p in row)
            self._file.write(f"{stream}{start},{end},{labels[label]},{row[label]:.4f},{probs}\n")


class PlainCsv:
    """Messages of one stream as the plain CSV that the `file` source reads.

    Accelerometer and gyroscope of a message must share their stamps, in m/s² and rad/s.  Without
    `labels` the annotations are left out.
    """

    def __init__(self, file: IO[str], *, labels: bool = True) -> None:
        self._file = file
        self._labels = labels
        self._label = ""
        self.rows = 0
        names = ["t_ns", "accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
        file.write(",".join([*names, *(["label"] if labels else [])]) + "\n")

    def write(self, message: Message) -> None:
        """Append the rows of a message."""
        batches = {item.sensor: item for item in message if isinstance(item, SampleBatch)}
        notes = sorted((item.t, item.text) for item in message if isinstance(item, Annotation))
        if not batches:
            return
        accel, gyro = batches["accel"], batches["gyro"]
        values = np.concatenate([accel.values, gyro.values], axis=1).tolist()
        for t, row in zip(accel.t.tolist(), values, strict=True):
            while notes and notes[0][0] <= t:
                self._label = notes.pop(0)[1]
            cells = ",".join(f"{value:.4f}" for value in row)
            label = f",{self._label}" if self._labels else ""
            self._file.write(f"{t},{cells}{label}\n")
        if notes:
            self._label = notes[-1][1]
        self.rows += len(accel)


class Plot:
    """Signal, probabilities and timeline of one stream, kept small however long it is.

    Per window and sensor only the extremes of the vector's norm are kept.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[Any, ...]]] = {}
        self._labels: dict[str, tuple[str, ...]] = {}

    def see(self, batch: PredictionBatch, labels: tuple[str, ...]) -> None:
        """Take note of a batch of predictions."""
        windows = batch.windows
        norms = [
            np.linalg.norm(windows.values[:, :, i : i + 3], axis=2)
            for i in range(0, windows.values.shape[2], 3)
        ]
        self._labels[batch.stream] = labels
        self._seen.setdefault(batch.stream, []).append(
            (
                (windows.t_start + windows.t_end) // 2,
                batch.probs,
                *((norm.min(axis=1), norm.max(axis=1)) for norm in norms),
            )
        )

    def draw(self, path: Path, outcome: Outcome) -> None:
        """Write the PNG; raises ImportError without matplotlib."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

        streams = list(self._seen)
        figure = Figure(figsize=(14, 6.5 * max(len(streams), 1)), layout="constrained")
        axes = figure.subplots(3 * len(streams), 1, sharex=True, squeeze=False)[:, 0]
        for i, stream in enumerate(streams):
            self._draw_stream(axes[3 * i : 3 * i + 3], stream, outcome)
        axes[-1].set_xlabel("seconds since the first sample")
        with written_aside(path, "wb") as file:
            figure.savefig(file, format="png", dpi=100)

    def _draw_stream(self, axes: Any, stream: str, outcome: Outcome) -> None:
        base = outcome.first_ns or 0
        parts, labels = self._seen[stream], self._labels[stream]
        t = (np.concatenate([p[0] for p in parts]) - base) / NS_PER_S
        probs = np.concatenate([p[1] for p in parts])
        signal, stack, line = axes
        for i, name in enumerate(["acceleration, m/s²", "rotation, rad/s"][: len(parts[0]) - 2]):
            low = np.concatenate([p[2 + i][0] for p in parts])
            high = np.concatenate([p[2 + i][1] for p in parts])
            signal.fill_between(t, low, high, alpha=0.6, step="mid", label=name)
        signal.set_title(f"{stream}: norm of the signal (range within each window)", loc="left")
        stack.stackplot(t, probs.T, labels=labels, step="mid")
        stack.set_ylim(0, 1)
        stack.set_title("probabilities", loc="left")
        shown = [bout for bout in outcome.bouts if bout.stream == stream]
        others = {bout.activity for bout in shown} - set(labels)
        names = [*labels, *sorted(others)]
        colours = {label: f"C{i}" for i, label in enumerate(labels)}
        for bout in shown:
            line.barh(
                names.index(bout.activity),
                bout.seconds,
                left=(bout.t_start - base) / NS_PER_S,
                color=colours.get(bout.activity, "0.6"),
            )
        line.set_yticks(range(len(names)), names)
        line.set_title("timeline", loc="left")
        for axis in (signal, stack):
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
