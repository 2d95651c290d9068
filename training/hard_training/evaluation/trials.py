"""One learner on one choice of people: learned once, kept, and taken from disk the next time.

A result is kept under a hash of all that it depends on (the windows, the people, the recipe, the
code that learns), so that none is ever taken for another's.  Called by cross-validation and
transfer.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from hard_training.augmentation import Augmentation, upright
from hard_training.learners import LEARNERS, NetworkLearner
from hard_training.models import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard_training.learners import Learner
    from hard_training.models import Architecture
    from hard_training.windows import LabelledWindows

__all__ = ["OF_THE_RECIPE", "Kept", "Plan", "Trial", "augmentation_for", "digest_of", "learned"]

_LEARNING_CODE = (
    *("augmentation.py", "features.py", "front.py", "learners.py", "models.py", "train.py"),
    "evaluation/trials.py",
)


OF_THE_RECIPE = "recipe"
"""The learner that is a plan's own network."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How learners are trained: everything but who and on which windows.

    `network` is what the name "recipe" stands for among the learners.
    """

    labels: tuple[str, ...]
    input: ModelInput
    augmentation: Augmentation
    epochs: int | None = None
    seed: int = 0
    network: Architecture | None = None

    def learner(self, name: str) -> Learner:
        """Return a learner by its name; raise KeyError for one that nobody knows."""
        if name == OF_THE_RECIPE and self.network:
            return NetworkLearner(self.network)
        return LEARNERS[name]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A learner by its name, and the windows it learns from, chooses by and is tested on."""

    learner: str
    train: LabelledWindows
    validation: LabelledWindows
    test: LabelledWindows


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What came out: `probs` float64[w, labels] of the test windows; `seconds` it took to learn."""

    probs: NDArray[np.float64]
    parameters: int
    best_epoch: int
    history: list[dict[str, float]]
    seconds: float
    reused: bool


def augmentation_for(own: Augmentation, wanted: ModelInput) -> Augmentation:
    """Return a data set's own augmentation as far as the frame leaves it open."""
    return upright(own) if wanted.frame == "upright" else own


def digest_of(windows: LabelledWindows) -> str:
    """Return a hash of windows: the same for the same values, labels and people."""
    found = blake2b(digest_size=16)
    for array in (windows.values, windows.label, windows.person):
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def learned(
    trial: Trial, plan: Plan, store: Path, on_progress: Callable[[float], None] | None = None
) -> Kept:
    """Return the result of a trial, from `store` where it is there, else learned and stored.

    `on_progress` is told the share of epochs done.  An interruption leaves no half result.
    """
    key = _key(trial, plan)
    path = store / f"{trial.learner}-{key}.npz"
    if path.is_file():
        return _read(path)
    network = plan.network if trial.learner == OF_THE_RECIPE else ARCHITECTURES.get(trial.learner)
    augmented = network is None or network.augment
    epochs = plan.epochs or (network.epochs if network else 1)
    began_s = time.monotonic()
    found = plan.learner(trial.learner).fit(
        trial.train,
        trial.validation,
        plan.input,
        plan.labels,
        augmentation=plan.augmentation if augmented else Augmentation(),
        seed=plan.seed,
        epochs=plan.epochs,
        on_epoch=lambda epoch: on_progress(epoch.number / epochs) if on_progress else None,
    )
    kept = Kept(
        probs=np.asarray(found.predict(trial.test.values), np.float64),
        parameters=found.parameters,
        best_epoch=found.best_epoch,
        history=[asdict(epoch) for epoch in found.history],
        seconds=round(time.monotonic() - began_s, 1),
        reused=False,
    )
    _write(path, kept)
    return kept


def _key(trial: Trial, plan: Plan) -> str:
    settings = {
        "plan": {
            "labels": plan.labels,
            "input": plan.input.model_dump(mode="json"),
            "augmentation": asdict(plan.augmentation),
            "epochs": plan.epochs,
            "seed": plan.seed,
            "network": repr(plan.network) if trial.learner == OF_THE_RECIPE else None,
        },
        "windows": [digest_of(part) for part in (trial.train, trial.validation, trial.test)],
        "code": _code_digest(_LEARNING_CODE),
    }
    text = json.dumps(settings, sort_keys=True)
    return blake2b(text.encode(), digest_size=10).hexdigest()


def _code_digest(files: Sequence[str]) -> str:
    root = resources.files("hard_training")
    found = blake2b(digest_size=10)
    for name in files:
        found.update(root.joinpath(name).read_bytes())
    return found.hexdigest()


def _write(path: Path, kept: Kept) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {
        name: getattr(kept, name) for name in ("parameters", "best_epoch", "history", "seconds")
    }
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        np.savez_compressed(file, probs=kept.probs, about=np.array(json.dumps(about)))
    aside.replace(path)


def _read(path: Path) -> Kept:
    with np.load(path, allow_pickle=False) as stored:
        about = json.loads(str(stored["about"]))
        return Kept(probs=stored["probs"], reused=True, **about)
