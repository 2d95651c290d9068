"""The training loop: windows of some people in, the network that does best on others out.

Knows nothing of data sets; `hard_training.produce` and the learners call it.  Everything random
comes from the seed, and a checkpoint after each epoch lets a training that was cut off go on to
the same weights, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from hard.api import UnusableInput
from hard_training import checkpoint as checkpoints
from hard_training.augmentation import Augmentation, augmented
from hard_training.checkpoint import Checkpoint
from hard_training.learners import Epoch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard_training.learners import OnEpoch
    from hard_training.models import Architecture
    from hard_training.windows import LabelledWindows

__all__ = ["Fitted", "calibrated", "draw", "fit", "fit_temperature"]

_ROUNDING = 1e-6  # of a share of windows that is a whole number
_WINDOWS_PER_EPOCH = 6400  # another draw from all of them in each epoch: also a shift in time


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network with the weights of its best epoch, and the temperature for its logits."""

    model: Any
    best_epoch: int
    temperature: float
    history: tuple[Epoch, ...]


def fit(
    architecture: Architecture,
    wanted: ModelInput,
    labels: Sequence[str],
    train: LabelledWindows,
    validation: LabelledWindows,
    *,
    augmentation: Augmentation,
    epochs: int,
    seed: int,
    on_epoch: OnEpoch | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    """Train by the architecture's recipe; the same arguments give the same weights on one machine.

    Where the augmentation leaves the heading open, the best epoch is that for any heading.  With a
    `checkpoint`, a training of the same arguments that was cut off goes on after its last whole
    epoch; those before are told to `on_epoch` again.  Raises `UnusableInput` where the architecture
    is to see a label `often` that is none of `labels`.
    """
    if augmentation.any_heading:
        any_heading = Augmentation(any_heading=True)
        seen = augmented(validation.values, any_heading, np.random.default_rng(seed))
        validation = replace(validation, values=seen)
    training = _Training(architecture, wanted, labels, train, augmentation, epochs, seed)
    made_for = checkpoints.fingerprint(
        (
            *(architecture, wanted, tuple(labels), augmentation, epochs, seed, tf.__version__),
            *(train.values, train.label, validation.values, validation.label),
        )
    )
    state = checkpoints.load(checkpoint, made_for) if checkpoint else None
    history = list(state.history) if state else []
    best, best_epoch = (state.best, state.best_epoch) if state else ([], 0)
    if state:
        training.restore(state)
    for epoch in history:
        if on_epoch:
            on_epoch(epoch)
    while len(history) < epochs and not _in_vain(len(history), best_epoch, architecture.patience):
        loss = training.epoch(len(history))
        found = _judged(len(history) + 1, loss, training.model, validation)
        history.append(found)
        if not best_epoch or found.validation_share_right > (
            history[best_epoch - 1].validation_share_right
        ):
            best, best_epoch = training.model.get_weights(), found.number
        if checkpoint:
            checkpoints.save(checkpoint, made_for, training.state(tuple(history), best_epoch, best))
        if on_epoch:
            on_epoch(found)
    training.model.set_weights(best)
    temperature = fit_temperature(_probabilities(training.model, validation), validation.label)
    return Fitted(training.model, best_epoch, temperature, tuple(history))


def _in_vain(epochs: int, best_epoch: int, patience: int) -> bool:
    return patience > 0 and epochs - best_epoch >= patience


class _Training:
    """A network on its way: everything that changes from epoch to epoch."""

    def __init__(
        self,
        architecture: Architecture,
        wanted: ModelInput,
        labels: Sequence[str],
        train: LabelledWindows,
        augmentation: Augmentation,
        epochs: int,
        seed: int,
    ) -> None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        self._rng = np.random.default_rng(seed)
        self._architecture, self._augmentation = architecture, augmentation
        self._train, self._labels, self._epochs = train, labels, epochs
        self._often = _by_index(architecture.often, labels)
        self.model = architecture.build(wanted, len(labels), None)
        scale = self.model.get_layer("scale")
        seen = train.values
        if architecture.front:
            before = keras.Model(self.model.input, scale.input)
            seen = before.predict(seen, batch_size=1024, verbose=0)
        scale.adapt(seen)
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=architecture.label_smoothing)
        self.model.compile(keras.optimizers.Adam(architecture.learning_rate), loss)
        self.model.optimizer.build(self.model.trainable_variables)

    def epoch(self, done: int) -> float:
        """Train on another draw of windows, after `done` epochs; return the loss."""
        cosine = 0.5 * (1 + np.cos(np.pi * done / self._epochs))
        self.model.optimizer.learning_rate.assign(self._architecture.learning_rate * cosine)
        label = self._train.label
        drawn = draw(
            label,
            _WINDOWS_PER_EPOCH,
            self._rng,
            balanced=self._architecture.balanced,
            often=self._often,
        )
        fitted = self.model.fit(
            augmented(self._train.values[drawn], self._augmentation, self._rng),
            keras.utils.to_categorical(label[drawn], len(self._labels)),
            batch_size=self._architecture.batch_windows,
            shuffle=False,
            verbose=0,
        )
        return float(fitted.history["loss"][0])

    def state(
        self, history: tuple[Epoch, ...], best_epoch: int, best: list[NDArray[Any]]
    ) -> Checkpoint:
        """Return all that the next epochs depend on."""
        return Checkpoint(
            history,
            best_epoch,
            best,
            weights=self.model.get_weights(),
            optimizer=[variable.numpy() for variable in self.model.optimizer.variables],
            dropout=[generator.state.numpy() for generator in self._dropout()],
            draws=self._rng.bit_generator.state,
        )

    def restore(self, state: Checkpoint) -> None:
        """Go back to where `state` was taken."""
        self.model.set_weights(state.weights)
        for variable, value in zip(self.model.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        for generator, value in zip(self._dropout(), state.dropout, strict=True):
            generator.reset(value)
        self._rng.bit_generator.state = state.draws

    def _dropout(self) -> list[Any]:
        return [
            layer._random_generator._generator  # noqa: SLF001 - Keras gives its state no other name
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Dropout)
        ]


def draw(
    label: NDArray[np.int64],
    at_most: int,
    rng: np.random.Generator,
    *,
    balanced: float,
    often: Mapping[int, float],
) -> NDArray[np.int64]:
    """Return which windows an epoch takes, in the order it takes them.

    `label` is each window's.  `balanced` 1 takes as many of each label, 0 as many as there are, and
    in between their numbers to the power of 1 - `balanced`; `often` takes those of a label so many
    times as many.  Windows of a rare one are taken several times.
    """
    if not balanced and not often:
        return rng.permutation(len(label))[:at_most]
    known, counts = np.unique(label, return_counts=True)
    weights = counts ** (1 - balanced) * [often.get(one, 1.0) for one in known.tolist()]
    shares = weights / weights.sum()
    drawn = []
    for one, share in zip(known, shares, strict=True):
        of = np.flatnonzero(label == one)
        n = int(np.ceil(min(at_most, len(label)) * share - _ROUNDING))
        drawn.append(rng.choice(of, n, replace=len(of) < n))
    return rng.permutation(np.concatenate(drawn))


def _by_index(often: Mapping[str, float], labels: Sequence[str]) -> dict[int, float]:
    strangers = [label for label in often if label not in labels]
    if strangers:
        raise UnusableInput(
            f"network.often: no label {', '.join(strangers)}; there are {', '.join(labels)}"
        )
    return {labels.index(label): times for label, times in often.items()}


def _judged(number: int, loss: float, model: Any, validation: LabelledWindows) -> Epoch:
    probs = _probabilities(model, validation)
    of_truth = probs[np.arange(len(validation)), validation.label].astype(np.float64)
    return Epoch(
        number,
        loss,
        float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
        _mean_over_people(probs, validation),
    )


def _probabilities(model: Any, windows: LabelledWindows) -> NDArray[np.float32]:
    probs: NDArray[np.float32] = model.predict(windows.values, batch_size=1024, verbose=0)
    return probs


def _mean_over_people(probs: NDArray[np.float32], windows: LabelledWindows) -> float:
    right = probs.argmax(axis=1) == windows.label
    return float(np.mean([right[windows.person == p].mean() for p in np.unique(windows.person)]))


def calibrated(probs: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return probabilities [w, labels] with their logits divided by the temperature."""
    powered = np.exp(np.log(np.maximum(probs.astype(np.float64), 1e-12)) / temperature)
    scaled: NDArray[np.float64] = powered / powered.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(probs: NDArray[np.float32], label: NDArray[np.int64]) -> float:
    """Return the temperature of least cross-entropy (Guo et al. 2017), between 0.25 and 4."""
    logits = np.log(np.maximum(probs.astype(np.float64), 1e-12))

    def cross_entropy(temperature: float) -> float:
        scaled = logits / temperature
        of_truth = scaled[np.arange(len(label)), label]
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - of_truth))

    candidates = np.geomspace(0.25, 4, 161)
    return round(float(min(candidates, key=cross_entropy)), 3)
