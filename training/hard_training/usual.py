"""What the signal of known windows looks like, for the card: see `hard.novelty`.

Pure; called by `hard_training.produce` with the training and the validation people's windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hard.card import Usual
from hard.novelty import TRAITS, distances, traits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from hard_training.windows import LabelledWindows

__all__ = ["MAX_REJECTED", "usual"]

MAX_REJECTED = 0.01
"""The share of the training people's windows that each of the two limits may find unusual."""
_RIDGE = 1e-3


def usual(train: LabelledWindows, labels: int) -> Usual:
    """Return means and precisions by label, and the limits that reject few known windows."""
    found, turn_deg = traits(train.values)
    means, precisions = [], []
    for label in range(labels):
        mean, precision = _normal(found[train.label == label])
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


def _normal(found: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and precision of a label's traits, slightly ridged."""
    covariance = np.cov(found.T)
    covariance += _RIDGE * np.diag(np.diag(covariance)).mean() * np.eye(len(covariance))
    return found.mean(axis=0), np.linalg.inv(covariance)


def _rounded(rows: Iterable[NDArray[np.float64]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(v), 4) for v in row) for row in rows)
