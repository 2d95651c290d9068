"""Learners side by side on one data set, each person tested by a model that never saw them.

    recordings -> windows -> folds of people -> learn, choose, predict -> all predictions scored

By default nobody of the official test people is touched: "training people" are all others.  The
leaky split beside it draws windows at random, so that one person's overlapping windows lie on both
sides; it is there to show what such a figure is worth.  Called by `hard-train crossval`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from hard_training.cache import cached_windows
from hard_training.evaluate import score
from hard_training.evaluation.anchors import anchors_for
from hard_training.evaluation.folds import Fold, folds_by_person
from hard_training.evaluation.trials import Trial, learned
from hard_training.windows import joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hard.card import ModelInput
    from hard_training.datasets import DataSet
    from hard_training.evaluation.trials import Kept, Plan
    from hard_training.windows import LabelledWindows

__all__ = [
    "LEAKY",
    "TRAINING_STRIDE_SAMPLES",
    "Folds",
    "Material",
    "OnStep",
    "crossval",
    "windows_read",
]

Folds: TypeAlias = int | Literal["loso", "official"]
"""How people are dealt out: into so many groups, one at a time, or by the official split."""

OnStep: TypeAlias = Callable[[str, float], None]
"""Told what is being done, and the share of all that is done."""

TRAINING_STRIDE_SAMPLES = 16
LEAKY = "leaky: one person's windows on both sides"
_LEAKY_TEST = 0.3
_LEAKY_VALIDATION = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The windows of one data set: `tested` as the edge cuts them, `learned_from` more densely."""

    tested: LabelledWindows
    learned_from: LabelledWindows

    @classmethod
    def read(
        cls,
        data_set: DataSet,
        data: Path,
        labels: Sequence[str],
        wanted: ModelInput,
        *,
        opened: bool = False,
    ) -> Material:
        """Cut a data set both ways; the official test people's windows only if `opened`."""
        finely = wanted.model_copy(update={"stride_samples": TRAINING_STRIDE_SAMPLES})
        return cls(
            *(windows_read(data_set, data, labels, how, opened=opened) for how in (wanted, finely))
        )

    def people(self) -> dict[int, int]:
        """Return how many windows each person has."""
        numbers, counts = np.unique(self.tested.person, return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def windows_read(
    data_set: DataSet,
    data: Path,
    labels: Sequence[str],
    wanted: ModelInput,
    *,
    opened: bool,
) -> LabelledWindows:
    """Return a data set's windows; those of the official test people only if `opened`."""
    windows = cached_windows(data_set, data, labels, wanted)
    keep = (
        windows.person
        if opened
        else np.array(
            [p for p in np.unique(windows.person) if data_set.split.part(int(p)) != "test"]
        )
    )
    return windows.part(np.isin(windows.person, keep))


def crossval(
    data_set: DataSet,
    material: Material,
    learners: Sequence[str],
    plan: Plan,
    *,
    folds: Folds,
    leaky: bool,
    store: Path,
    on_step: OnStep,
) -> dict[str, Any]:
    """Return a row of scores per learner (and per leaky one), and the published anchors.

    Results of folds are kept in `store` and taken from there.  Raises ValueError where the people
    of `material` can't be dealt out so.
    """
    by_person = folds if isinstance(folds, str) else f"{folds} groups"
    splits: dict[str, Sequence[Fold | None]] = {by_person: _dealt(data_set, material, folds)}
    if leaky:
        splits[LEAKY] = [None]
    steps = len(learners) * sum(len(parts) for parts in splits.values())
    rows, done = [], 0
    for learner in learners:
        for name, parts in splits.items():
            trials = [_trial(learner, material, fold, plan.seed) for fold in parts]
            results = []
            for number, trial in enumerate(trials, 1):
                text = f"{learner}, {number} of {len(parts)}{', leaky' * (name == LEAKY)}"
                results.append(learned(trial, plan, store, within(on_step, text, done, steps)))
                done += 1
                on_step(text, done / steps)
            rows.append({"learner": learner, "split": name, **_row(trials, results, plan.labels)})
    return {
        "kind": "crossval",
        "data_set": data_set.name,
        "people": len(material.people()),
        "windows": len(material.tested),
        "labels": list(plan.labels),
        "channels": len(plan.input.channels),
        "frame": plan.input.frame,
        "folds": str(folds),
        "epochs": plan.epochs,
        "seed": plan.seed,
        "rows": rows,
        "anchors": anchors_for(data_set.name, len(plan.labels)),
    }


def within(on_step: OnStep, text: str, done: int, steps: int) -> Callable[[float], None]:
    """Return what is told the share done of one step of several."""
    return lambda share: on_step(text, (done + share) / steps)


def _dealt(data_set: DataSet, material: Material, folds: Folds) -> list[Fold]:
    people = material.people()
    if folds != "official":
        return folds_by_person(people, None if folds == "loso" else folds)
    by_part: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for person in people:
        by_part[data_set.split.part(person)].append(person)
    if not all(by_part.values()):
        raise ValueError(f"{data_set.title} has no official split: take --folds 5 or loso")
    return [Fold(*(tuple(sorted(by_part[part])) for part in ("train", "validation", "test")))]


def _trial(learner: str, material: Material, fold: Fold | None, seed: int) -> Trial:
    """Return the windows of a fold's people; without a fold a random split of all windows."""
    if fold is None:
        n = len(material.tested)
        order = np.random.default_rng(seed).permutation(n)
        cuts = [round(n * _LEAKY_TEST), round(n * (_LEAKY_TEST + _LEAKY_VALIDATION))]
        test, validation, train = (material.tested.part(np.sort(i)) for i in np.split(order, cuts))
        return Trial(learner, train, validation, test)
    return Trial(
        learner,
        train=_of(material.learned_from, fold.train),
        validation=_of(material.tested, fold.validation),
        test=_of(material.tested, fold.test),
    )


def _of(windows: LabelledWindows, people: Sequence[int]) -> LabelledWindows:
    return windows.part(np.isin(windows.person, people))


def _row(trials: Sequence[Trial], results: Sequence[Kept], labels: Sequence[str]) -> dict[str, Any]:
    """Return the scores of all folds' predictions together, and what they cost."""
    tested = joined([trial.test for trial in trials])
    return {
        "parameters": max(result.parameters for result in results),
        "best_epochs": [result.best_epoch for result in results],
        "seconds": round(sum(result.seconds for result in results), 1),
        "reused": sum(result.reused for result in results),
        "history": results[0].history,
        **score(tested, np.concatenate([result.probs for result in results]), labels),
    }
