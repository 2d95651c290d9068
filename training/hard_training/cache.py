"""What was read and cut once, kept on disk, so that the second time takes seconds.

    FOLDER/hapt-waist/grid-KEY-VERSION/       recordings on the model's grid
    FOLDER/hapt-waist/windows-KEY-VERSION/    windows cut from them

FOLDER is $HARD_CACHE, else $XDG_CACHE_HOME/hard-train, else ~/.cache/hard-train, and may be
deleted at any time.  KEY stands for the archive (size, time of change) and for what was asked of
it, VERSION for the code that did it: a change to any source file it depends on makes everything
anew and removes what the old code left.  An entry is written aside and renamed when it is complete;
what can't be read back is made again.  Called by training and evaluation.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np

import hard.api
import hard_file
import hard_training.datasets
from hard.conditioning import GridBlock
from hard_training.datasets import DataMissing, Segment
from hard_training.windows import GridRecording, LabelledWindows, labelled_windows, on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard_training.datasets import DataSet

__all__ = ["OnGrid", "cache_folder", "cached_grid", "cached_windows"]

_log = logging.getLogger("hard_training.cache")
_OF_THE_EDGE = (
    "api",
    "card",
    "clock",
    "conditioning",
    "ordering",
    "resampling",
    "upright",
    "windowing",
)
_ASIDE = ".unfinished-"
_ABANDONED_S = 24 * 3600.0
_ARRAYS = ("values", "valid", "covered", "blocks")
_WINDOW_ARRAYS = ("values", "label", "person", "recording", "t_start")


@dataclass(frozen=True, slots=True, eq=False)
class OnGrid:
    """A data set's recordings on the model's grid.

    `defects` counts what is wrong with the archive, by the loader's words; `dropped` what
    conditioning left out, in samples, by the edge's.
    """

    recordings: tuple[GridRecording, ...]
    defects: Counter[str]
    dropped: Counter[str]


def cache_folder() -> Path:
    """Return where the cache is kept; it need not exist."""
    if given := os.environ.get("HARD_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hard-train"


def cached_grid(data_set: DataSet, data: Path, wanted: ModelInput) -> OnGrid:
    """Return a data set's recordings on the grid of `wanted`, from the cache where they are there.

    What the edge would reject is left out and counted.  Raises `DataMissing` and `DataUnusable`.
    """
    about = wanted.model_dump(include={"channels", "sampling_rate_hz", "min_rate_hz"})
    entry = _entry(data_set, data, "grid", about)
    arrays, index = _read(entry, _ARRAYS)
    if index is not None:
        return _grid_of(arrays, index)
    defects, dropped = Counter[str](), Counter[str]()
    made = OnGrid(
        tuple(on_grid(one, wanted, dropped) for one in data_set.recordings(data, defects)),
        defects,
        dropped,
    )
    _write(entry, *_stored(made, len(wanted.channels)))
    return made


def cached_windows(
    data_set: DataSet, data: Path, labels: Sequence[str], wanted: ModelInput
) -> LabelledWindows:
    """Return `labelled_windows` of a whole data set, from the cache where they are there.

    `recording` counts as `cached_grid(...).recordings` does.
    """
    about = wanted.model_dump() | {"labels": list(labels)}
    entry = _entry(data_set, data, "windows", about)
    arrays, index = _read(entry, _WINDOW_ARRAYS)
    if index is not None:
        return LabelledWindows(*(arrays[name] for name in _WINDOW_ARRAYS))
    windows = labelled_windows(cached_grid(data_set, data, wanted).recordings, labels, wanted)
    _write(entry, {name: getattr(windows, name) for name in _WINDOW_ARRAYS}, {})
    return windows


# --- what is stored ---------------------------------------------------------------------------


def _stored(grid: OnGrid, channels: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the index of recordings: points in a row, a line a block."""
    blocks = [(i, block) for i, one in enumerate(grid.recordings) for block in one.blocks]
    none = np.empty((0, channels), np.float32)
    flags = np.empty(0, bool)
    arrays: dict[str, NDArray[Any]] = {
        "values": np.concatenate([none, *(block.values for _, block in blocks)]),
        "valid": np.concatenate([flags, *(block.valid for _, block in blocks)]),
        "covered": np.concatenate([flags, *(block.covered for _, block in blocks)]),
        "blocks": np.array(
            [(i, block.segment, block.k0, len(block.values)) for i, block in blocks], np.int64
        ).reshape(-1, 4),
    }
    index = {
        "recordings": [
            {
                "name": one.name,
                "person": one.person,
                "order": one.order,
                "device": one.device,
                "segments": [(s.t_start_ns, s.t_end_ns, s.label) for s in one.segments],
            }
            for one in grid.recordings
        ],
        "defects": +grid.defects,
        "dropped": +grid.dropped,
    }
    return arrays, index


def _grid_of(arrays: dict[str, NDArray[Any]], index: dict[str, Any]) -> OnGrid:
    blocks: list[list[GridBlock]] = [[] for _ in index["recordings"]]
    at = 0
    for recording, segment, k0, n in arrays["blocks"].tolist():
        part = slice(at, at + n)
        points = (arrays[name][part] for name in ("values", "valid", "covered"))
        blocks[recording].append(GridBlock(segment, k0, *points))
        at += n
    recordings = tuple(
        GridRecording(
            one["name"],
            one["person"],
            tuple(of_one),
            tuple(Segment(*segment) for segment in one["segments"]),
            one["order"],
            one["device"],
        )
        for one, of_one in zip(index["recordings"], blocks, strict=True)
    )
    return OnGrid(recordings, Counter(index["defects"]), Counter(index["dropped"]))


# --- where and how -----------------------------------------------------------------------------


def _entry(data_set: DataSet, data: Path, what: str, about: dict[str, Any]) -> Path:
    container = data_set.container(data)
    if container is None:
        # Asked for its first recording, the data set says itself what is missing.
        next(data_set.recordings(data))
        raise DataMissing(f"{data}: {data_set.title} was removed meanwhile; try again")
    asked = {"placement": data_set.placement, "archive": _signature(container), **about}
    key = _digest(json.dumps(asked, sort_keys=True).encode())
    folder = cache_folder() / f"{data_set.name}-{data_set.placement}"
    return folder / f"{what}-{key}-{_code_version()}"


def _signature(container: Path) -> list[tuple[str, int, int]]:
    """Return what tells one state of an archive or folder from another."""
    files = [container] if container.is_file() else sorted(container.rglob("*"))
    stats = [(path, path.stat()) for path in files if path.is_file()]
    root = container.resolve().parent
    return [
        (str(path.resolve().relative_to(root)), stat.st_size, stat.st_mtime_ns)
        for path, stat in stats
    ]


@cache
def _code_version() -> str:
    """Return a digest of every source file that what is stored depends on."""
    edge, training = Path(hard.api.__file__).parent, Path(__file__).parent
    sources = [edge / f"{name}.py" for name in _OF_THE_EDGE]
    sources += [training / "windows.py", Path(__file__)]
    for package in (hard_file.__file__, hard_training.datasets.__file__):
        sources += sorted(Path(package).parent.glob("*.py"))
    return _digest(b"\0".join(path.read_bytes() for path in sources))


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()


def _read(
    entry: Path, names: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any] | None]:
    """Return an entry's arrays and its index; no index where there is none, or a damaged one."""
    try:
        index = json.loads((entry / "index.json").read_text("utf-8"))
        arrays = {name: np.load(entry / f"{name}.npy") for name in names}
        if index["shapes"] != {name: list(array.shape) for name, array in arrays.items()}:
            raise ValueError("its arrays are of other sizes than it says")  # noqa: TRY301 - as damaged
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, KeyError, EOFError) as error:
        _log.warning("%s: can't be read (%s); it is made again", entry, error)
        return {}, None
    return arrays, index


def _write(entry: Path, arrays: dict[str, NDArray[Any]], index: dict[str, Any]) -> None:
    """Store an entry under its name once it is complete; a full disk costs time, nothing else."""
    aside = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(mkdtemp(prefix=_ASIDE, dir=entry.parent))
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array)
        shapes = {name: array.shape for name, array in arrays.items()}
        (aside / "index.json").write_text(json.dumps(index | {"shapes": shapes}), "utf-8")
        shutil.rmtree(entry, ignore_errors=True)
        aside.rename(entry)
        _remove_others(entry)
    except OSError as error:
        _log.warning("%s: can't be kept (%s); it is made again next time", entry, error)
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _remove_others(entry: Path) -> None:
    """Remove what other code made of the same, and what runs that were killed left aside."""
    of_this_kind, long_ago = entry.name.rpartition("-")[0], time.time() - _ABANDONED_S
    for other in entry.parent.iterdir():
        is_old = other.name.startswith(of_this_kind) and other != entry
        if other.name.startswith(_ASIDE):
            is_old = other.stat().st_mtime < long_ago
        if is_old:
            shutil.rmtree(other, ignore_errors=True)
