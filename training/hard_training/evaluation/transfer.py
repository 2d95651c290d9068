"""Learned on data sets, tested on another: other people, another phone, maybe another placement.

The postures count as one label, `still`: what sitting looks like depends on where the phone is.
Nothing of the other set is learned from or chosen by.  Called by `hard-train transfer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from hard.card import STILL
from hard_training.datasets.labels import POSTURES
from hard_training.evaluate import score
from hard_training.evaluation.crossval import within
from hard_training.evaluation.trials import Trial, learned
from hard_training.windows import joined, numbered_apart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hard_training.datasets import DataSet
    from hard_training.evaluation.crossval import Material, OnStep
    from hard_training.evaluation.trials import Plan
    from hard_training.windows import LabelledWindows

__all__ = ["Classes", "classes_for", "merged", "transfer"]

Classes: TypeAlias = Literal["shared", "train"]
"""What the learner tells apart: what both sets have, or all that the training set has."""


def merged(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels with the postures as one, `still`, in the order of the first of each."""
    return tuple(dict.fromkeys(STILL if label in POSTURES else label for label in labels))


def classes_for(train: Sequence[DataSet], test: DataSet, classes: Classes) -> tuple[str, ...]:
    """Return what is told apart; raise ValueError for sets that share fewer than two labels."""
    own = merged([label for data_set in train for label in data_set.labels])
    other = merged(test.labels)
    shared = tuple(label for label in own if label in other)
    if len(shared) < 2:
        raise ValueError(
            f"{_titles(train)} and {test.title} share {' and '.join(shared) or 'no label'}: take "
            "sets with two labels in common"
        )
    return shared if classes == "shared" else own


def transfer(
    train: Sequence[tuple[DataSet, Material]],
    test: tuple[DataSet, LabelledWindows],
    learners: Sequence[str],
    plan: Plan,
    *,
    store: Path,
    on_step: OnStep,
) -> dict[str, Any]:
    """Return a row of scores per learner; each set comes with its windows of the plan's labels.

    The training sets' validation people choose; their official test people take no part.  Raises
    ValueError for sets without validation people, and for one without a window to test on.
    """
    data_sets = [data_set for data_set, _ in train]
    other, tested_on = test
    parts = (
        _joined_of([(data_set, own.learned_from) for data_set, own in train], "train"),
        _joined_of([(data_set, own.tested) for data_set, own in train], "validation"),
        tested_on,
    )
    if not all(map(len, parts)):
        raise ValueError(
            f"{_titles(data_sets)} -> {other.title}: no windows to learn from, to choose by, or to "
            "test on; what is learned from needs validation people of its own"
        )
    rows = []
    for number, learner in enumerate(learners):
        on_step(learner, number / len(learners))
        trial = Trial(learner, *parts)
        kept = learned(trial, plan, store, within(on_step, learner, number, len(learners)))
        rows.append(
            {
                "learner": learner,
                "parameters": kept.parameters,
                "best_epochs": [kept.best_epoch],
                "seconds": kept.seconds,
                **score(trial.test, kept.probs, plan.labels),
            }
        )
    on_step("done", 1.0)
    return {
        "kind": "transfer",
        "train": ", ".join(data_set.name for data_set in data_sets),
        "test": other.name,
        "placements": [
            ", ".join(dict.fromkeys(data_set.placement for data_set in data_sets)),
            other.placement,
        ],
        "labels": list(plan.labels),
        "channels": len(plan.input.channels),
        "frame": plan.input.frame,
        "epochs": plan.epochs,
        "seed": plan.seed,
        "people": len(np.unique(tested_on.person)),
        "windows": len(tested_on),
        "rows": rows,
    }


def _titles(data_sets: Sequence[DataSet]) -> str:
    return " and ".join(data_set.title for data_set in data_sets)


def _joined_of(windows: Sequence[tuple[DataSet, LabelledWindows]], part: str) -> LabelledWindows:
    return joined(
        [numbered_apart(_of(own, of_set, part), n) for n, (own, of_set) in enumerate(windows)]
    )


def _of(data_set: DataSet, windows: LabelledWindows, part: str) -> LabelledWindows:
    return windows.part(
        np.array([data_set.split.part(p) == part for p in windows.person.tolist()], bool)
    )
