"""The state of a training between two epochs, in one file that is there whole or not at all.

Called by `hard_training.train`: what it loads makes the rest of the training the same, bit for
bit, as if it had never been interrupted.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from hard_training.learners import Epoch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Checkpoint", "fingerprint", "load", "save"]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Where a training stands.

    `weights`, `optimizer` and `dropout` are the network's variables, the optimizer's and the
    generators' states, `best` the weights of the best epoch so far; `draws` is the state of the
    numpy generator that draws and changes windows.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    best: list[NDArray[Any]]
    weights: list[NDArray[Any]]
    optimizer: list[NDArray[Any]]
    dropout: list[NDArray[Any]]
    draws: Mapping[str, Any]


_ARRAYS = ("best", "weights", "optimizer", "dropout")


def fingerprint(of: Sequence[object]) -> str:
    """Return a digest of arrays and of what prints the same: what a training depends on."""
    digest = blake2b(digest_size=16)
    for part in of:
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


def save(path: Path, made_for: str, state: Checkpoint) -> None:
    """Replace the checkpoint at `path`, made for a training with this fingerprint."""
    known = {
        "made_for": made_for,
        "best_epoch": state.best_epoch,
        "draws": state.draws,
        "history": [
            [e.number, e.training_loss, e.validation_loss, e.validation_share_right]
            for e in state.history
        ],
    }
    arrays = {
        f"{kind}_{i}": array for kind in _ARRAYS for i, array in enumerate(getattr(state, kind))
    }
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        np.savez(file, known=np.array(json.dumps(known)), **arrays)
    aside.replace(path)


def load(path: Path, made_for: str) -> Checkpoint | None:
    """Return the checkpoint, None where there is none or it belongs to another training."""
    try:
        with path.open("rb") as whole, np.load(whole) as file:
            known = json.loads(str(file["known"]))
            if known["made_for"] != made_for:
                return None
            arrays = {
                kind: [file[f"{kind}_{i}"] for i in range(_count(file.files, kind))]
                for kind in _ARRAYS
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # not ours, or a disk's fault: training from the start is always right
    history = tuple(Epoch(int(n), *losses) for n, *losses in known["history"])
    return Checkpoint(history, known["best_epoch"], draws=known["draws"], **arrays)


def _count(names: Sequence[str], kind: str) -> int:
    return sum(name.rpartition("_")[0] == kind for name in names)
