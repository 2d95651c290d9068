"""What the signal of known windows looks like, for the card: see `hard.novelty`.

Pure; called by `hard_training.produce` with the training people's windows, and by
`hard_training.personalize` with a wearer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hard.api import UnusableInput
from hard.card import Usual
from hard.novelty import TRAITS, distances, traits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hard_training.windows import LabelledWindows

__all__ = ["MAX_REJECTED", "usual", "widened"]

MAX_REJECTED = 0.01
"""The share of the training people's windows that each of the two limits may find unusual."""
_RIDGE = 1e-3


def usual(train: LabelledWindows, labels: Sequence[str]) -> Usual:
    """Return means and precisions by label, and the limits that reject few known windows.

    Raises `UnusableInput` for a label that there are no two windows of.
    """
    found, turn_deg = traits(train.values)
    means, precisions = [], []
    for number, label in enumerate(labels):
        of_label = found[train.label == number]
        if len(of_label) < 2:
            raise UnusableInput(f"labels: the training people have too little of {label!r}")
        mean, precision = _normal(of_label)
        means.append(mean)
        precisions.append(precision)
    drafted = Usual(
        traits=TRAITS[: found.shape[1]],
        means=_rounded(means),
        precisions=tuple(_rounded(precision) for precision in precisions),
        max_distance=1.0,
        max_turn_deg=1.0,
    )
    nearest = distances(found, drafted).min(axis=1)
    limits = {
        "max_distance": round(float(np.quantile(nearest, 1 - MAX_REJECTED)), 3),
        "max_turn_deg": round(float(np.quantile(turn_deg, 1 - MAX_REJECTED)), 3),
    }
    return drafted.model_copy(update=limits)


def widened(known: Usual, values: NDArray[np.float32]) -> Usual:
    """Return what is usual with limits that reject few of a wearer's windows float32[w, T, C]."""
    found, turn_deg = traits(values)
    nearest = distances(found, known).min(axis=1)
    reached = (float(np.quantile(each, 1 - MAX_REJECTED)) for each in (nearest, turn_deg))
    limits = zip(("max_distance", "max_turn_deg"), reached, strict=True)
    return known.model_copy(
        update={name: max(getattr(known, name), round(limit, 3)) for name, limit in limits}
    )


def _normal(found: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and precision of a label's traits, slightly ridged."""
    covariance = np.cov(found.T)
    covariance += _RIDGE * max(np.diag(covariance).mean(), _RIDGE) * np.eye(len(covariance))
    return found.mean(axis=0), np.linalg.inv(covariance)


def _rounded(rows: Iterable[NDArray[np.float64]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(v), 4) for v in row) for row in rows)
