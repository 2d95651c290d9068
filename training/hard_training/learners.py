"""Everything that can learn activities from labelled windows, under one contract and by name.

The networks that become models of the edge, and the baselines that they have to beat.  The table
`LEARNERS` is read without TensorFlow or scikit-learn: those are loaded by `fit`.  Called by
cross-validation and comparison; `hard_training.produce` trains the networks it exports by
`hard_training.train` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hard_training.augmentation import augmented
from hard_training.features import features
from hard_training.models import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hard.card import ModelInput
    from hard_training.augmentation import Augmentation
    from hard_training.models import Architecture
    from hard_training.windows import LabelledWindows

__all__ = ["LEARNERS", "Epoch", "Learned", "Learner", "NetworkLearner", "OnEpoch", "Predict"]

Predict: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""float32[w, T, C] windows to float64[w, labels] probabilities, each row summing to 1."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to; `number` counts from 1.

    Losses are cross-entropies in nats (the training one with the network's regularisation and
    label smoothing); `validation_share_right` is the mean over the validation people of each
    one's share of windows right, by which the best epoch is chosen.
    """

    number: int
    training_loss: float
    validation_loss: float
    validation_share_right: float


OnEpoch: TypeAlias = Callable[[Epoch], None]
"""Told after each epoch, from the thread that trains."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned.

    `parameters` counts a network's weights, a forest's nodes, the numbers that neighbours keep.
    `history` is empty and `best_epoch` 0 for what does not learn in epochs.
    """

    predict: Predict
    parameters: int
    history: tuple[Epoch, ...] = ()
    best_epoch: int = 0


class Learner(Protocol):
    """Something that learns from labelled windows."""

    @property
    def name(self) -> str:
        """Its key in `LEARNERS`."""
        ...

    @property
    def description(self) -> str:
        """One line for tables and cards."""
        ...

    def fit(
        self,
        train: LabelledWindows,
        validation: LabelledWindows,
        wanted: ModelInput,
        labels: Sequence[str],
        *,
        augmentation: Augmentation,
        seed: int,
        epochs: int | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Learned:
        """Learn from `train`; choose (epoch, temperature) by `validation` alone.

        `epochs` None: the learner's own; both `epochs` and `on_epoch` mean nothing to a learner
        without epochs.  Windows of several fits may have different labels left out: `predict`
        always gives a column for each of `labels`.  The same arguments give the same result on one
        machine.
        """
        ...


@dataclass(frozen=True, slots=True)
class NetworkLearner:
    """A network of `hard_training.models`, with calibrated probabilities."""

    architecture: Architecture

    @property
    def name(self) -> str:
        """The architecture's."""
        return self.architecture.name

    @property
    def description(self) -> str:
        """The architecture's."""
        return self.architecture.description

    def fit(
        self,
        train: LabelledWindows,
        validation: LabelledWindows,
        wanted: ModelInput,
        labels: Sequence[str],
        *,
        augmentation: Augmentation,
        seed: int,
        epochs: int | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Learned:
        """Train it; its probabilities are calibrated on the validation people."""
        from hard_training.train import calibrated, fit  # noqa: PLC0415 - TensorFlow takes seconds

        fitted = fit(
            self.architecture,
            wanted,
            labels,
            train,
            validation,
            augmentation=augmentation,
            epochs=epochs or self.architecture.epochs,
            seed=seed,
            on_epoch=on_epoch,
        )

        def predict(windows: NDArray[np.float32]) -> NDArray[np.float64]:
            raw = fitted.model.predict(windows, batch_size=1024, verbose=0)
            return calibrated(raw, fitted.temperature)

        return Learned(predict, fitted.model.count_params(), fitted.history, fitted.best_epoch)


@dataclass(frozen=True, slots=True)
class _Baseline:
    """A classifier of scikit-learn on `features`; each window is seen once, augmented."""

    name: str
    description: str
    make: Callable[[int], Any]
    """Seed to an untrained classifier."""
    count: Callable[[Any], int]

    def fit(
        self,
        train: LabelledWindows,
        validation: LabelledWindows,
        wanted: ModelInput,
        labels: Sequence[str],
        *,
        augmentation: Augmentation,
        seed: int,
        epochs: int | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Learned:
        del validation, epochs, on_epoch  # it has nothing to choose
        rate_hz = wanted.sampling_rate_hz
        seen = augmented(train.values, augmentation, np.random.default_rng(seed))
        classifier = self.make(seed)
        classifier.fit(features(seen, rate_hz), train.label)

        def predict(windows: NDArray[np.float32]) -> NDArray[np.float64]:
            probs = np.zeros((len(windows), len(labels)))
            if len(windows):
                probs[:, classifier.classes_] = classifier.predict_proba(features(windows, rate_hz))
            return probs

        return Learned(predict, self.count(classifier))


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - takes a second

    return RandomForestClassifier(200, min_samples_leaf=2, max_features="sqrt", random_state=seed)


def _neighbours(seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415 - takes a second
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    del seed  # nothing is drawn
    return make_pipeline(StandardScaler(), KNeighborsClassifier(15, weights="distance"))


_BASELINES = (
    _Baseline(
        name="random-forest",
        description="random forest of 200 trees on cheap features",
        make=_forest,
        count=lambda forest: sum(tree.tree_.node_count for tree in forest.estimators_),
    ),
    _Baseline(
        name="knn",
        description="15 nearest neighbours, weighted by distance, on scaled cheap features",
        make=_neighbours,
        count=lambda pipeline: pipeline[-1].n_samples_fit_ * pipeline[-1].n_features_in_,
    ),
)

_ALL: tuple[Learner, ...] = (*(NetworkLearner(a) for a in ARCHITECTURES.values()), *_BASELINES)

LEARNERS = {learner.name: learner for learner in _ALL}
"""All learners by name; the networks' names are those of `hard-train run --arch`."""
