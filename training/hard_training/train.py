"""The training loop: windows of some people in, the network that does best on others out.

Knows nothing of files; `hard_training.produce` calls it and goes on to the edge model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hard_training.augmentation import Augmentation, augmented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard_training.models import Architecture
    from hard_training.windows import LabelledWindows

__all__ = ["Fitted", "OnEpoch", "fit", "fit_temperature"]

_WINDOWS_PER_EPOCH = 6400  # another draw from all of them in each epoch: also a shift in time

OnEpoch: TypeAlias = Callable[[int, float], None]
"""Told after each epoch (from 1) the validation people's mean share of windows right."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network with the weights of its best epoch, and the temperature for its logits."""

    model: Any
    best_epoch: int
    temperature: float


def fit(
    architecture: Architecture,
    wanted: ModelInput,
    labels: int,
    train: LabelledWindows,
    validation: LabelledWindows,
    *,
    augmentation: Augmentation,
    epochs: int,
    seed: int,
    on_epoch: OnEpoch,
) -> Fitted:
    """Train by the architecture's recipe; the same seed gives the same weights on one machine.

    Where the augmentation leaves the heading open, the best epoch is that for any heading.
    """
    if augmentation.any_heading:
        any_heading = Augmentation(any_heading=True)
        seen = augmented(validation.values, any_heading, np.random.default_rng(seed))
        validation = replace(validation, values=seen)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(seed)
    model = architecture.build(wanted, labels, None)
    model.get_layer("scale").adapt(train.values)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=architecture.label_smoothing)
    model.compile(keras.optimizers.Adam(architecture.learning_rate), loss)
    best: tuple[float, int, Any] = (-1.0, 0, None)
    for epoch in range(epochs):
        cosine = 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        model.optimizer.learning_rate.assign(architecture.learning_rate * cosine)
        drawn = rng.permutation(len(train))[:_WINDOWS_PER_EPOCH]
        model.fit(
            augmented(train.values[drawn], augmentation, rng),
            keras.utils.to_categorical(train.label[drawn], labels),
            batch_size=architecture.batch_windows,
            shuffle=False,
            verbose=0,
        )
        share_right = _mean_over_people(_probabilities(model, validation), validation)
        if share_right > best[0]:
            best = (share_right, epoch + 1, model.get_weights())
        on_epoch(epoch + 1, share_right)
    model.set_weights(best[2])
    temperature = fit_temperature(_probabilities(model, validation), validation.label)
    return Fitted(model, best[1], temperature)


def _probabilities(model: Any, windows: LabelledWindows) -> NDArray[np.float32]:
    probs: NDArray[np.float32] = model.predict(windows.values, batch_size=1024, verbose=0)
    return probs


def _mean_over_people(probs: NDArray[np.float32], windows: LabelledWindows) -> float:
    right = probs.argmax(axis=1) == windows.label
    return float(np.mean([right[windows.person == p].mean() for p in np.unique(windows.person)]))


def fit_temperature(probs: NDArray[np.float32], label: NDArray[np.int64]) -> float:
    """Return the temperature of least cross-entropy (Guo et al. 2017), between 0.25 and 4."""
    logits = np.log(np.maximum(probs.astype(np.float64), 1e-12))

    def cross_entropy(temperature: float) -> float:
        scaled = logits / temperature
        of_truth = scaled[np.arange(len(label)), label]
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - of_truth))

    candidates = np.geomspace(0.25, 4, 161)
    return round(float(min(candidates, key=cross_entropy)), 3)
