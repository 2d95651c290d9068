"""The networks that can be trained, and the recipe each is trained by.

Built with tf-keras (Keras 2): its LSTM becomes the fused operator of TFLite, Keras 3's becomes
loops (see `hard_training.export`).  The table is read without TensorFlow, which `build` loads.
Called by training, and by export once more with a fixed batch of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hard_training.front import looked_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hard.card import ModelInput
    from hard_training.front import ChannelSet

__all__ = ["ARCHITECTURES", "Architecture"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and its recipe.

    `layers(keras, x, labels, architecture)` puts the layers on `x` [batch, T, C], scaled, and
    gives probabilities [batch, labels].  `epochs` is the most; the best on validation is kept, and
    after `patience` epochs without a better one training ends (0: never).  `augment` says whether
    the placement's augmentation is part of the recipe.  `filters` are those of the convolutions,
    one after the other, `lstm_units` 0 means no LSTM; the tutorial's network has no convolutions
    and no dropout.  `front` names what is looked at (`hard_training.front`), nothing: the raw axes;
    `balanced` and `often`, by label, say which windows an epoch draws (`hard_training.train.draw`).
    """

    name: str
    layers: Callable[[Any, Any, int, Architecture], Any] = field(repr=False)
    epochs: int
    batch_windows: int
    learning_rate: float
    label_smoothing: float = 0.0
    patience: int = 0
    augment: bool = True
    filters: tuple[int, ...] = ()
    lstm_units: int = 0
    dropout: float = 0.0
    front: tuple[ChannelSet, ...] = ()
    balanced: float = 0.0
    often: Mapping[str, float] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The layers in a line, for tables and cards."""
        front = f"{', '.join(self.front)} - " if self.front else ""
        return front + self._layers

    @property
    def _layers(self) -> str:
        if not self.filters:
            n = self.lstm_units
            return f"dense ReLU {n} per step - LSTM {n} - LSTM {n}, last step - softmax; L2 0.0015"
        convolutions = " - ".join(f"Conv {n}/2" for n in self.filters)
        lstm = f" - LSTM {self.lstm_units}" if self.lstm_units else ""
        return (
            f"{convolutions} (width 5, batch normalisation, ReLU){lstm} - average and maximum over "
            f"time - dropout {self.dropout:g} - softmax"
        )

    @property
    def recurrent(self) -> bool:
        """Whether there is an LSTM in it."""
        return self.lstm_units > 0

    def build(self, shape: ModelInput, labels: int, batch_size: int | None) -> Any:
        """Return a model from float32[batch, T, C] to probabilities float32[batch, labels].

        The windows are in the units of `ModelInput`; `batch_size` None leaves the batch open.  The
        layer named "scale" holds the normalisation and is to be adapted to what of the training
        windows reaches it; the last layer is the dense one that gives the probabilities.
        """
        import tf_keras as keras  # noqa: PLC0415 - TensorFlow takes seconds

        size = (shape.window_samples, len(shape.channels))
        window = keras.Input(size, batch_size=batch_size, name="window")
        seen = window
        if self.front:
            look = keras.layers.Lambda(looked_at, name="front", arguments={"sets": self.front})
            seen = look(window)
        scaled = keras.layers.Normalization(name="scale")(seen)
        return keras.Model(window, self.layers(keras, scaled, labels, self))


def _tutorial(keras: Any, x: Any, labels: int, how: Architecture) -> Any:
    """Stack two LSTM of 32 behind a dense ReLU per step, all weights under L2 of 0.0015.

    G. Chevalier, "LSTMs for Human Activity Recognition" (2016), with its forget bias of 1, batch
    and learning rate.
    """
    decay = keras.regularizers.L2(0.0015 / 2)  # tf.nn.l2_loss there: half the sum of squares
    weights = {"kernel_regularizer": decay, "bias_regularizer": decay}
    x = keras.layers.Dense(how.lstm_units, activation="relu", **weights)(x)
    for last in (False, True):
        x = keras.layers.LSTM(
            how.lstm_units, return_sequences=not last, recurrent_regularizer=decay, **weights
        )(x)
    return keras.layers.Dense(labels, activation="softmax", **weights)(x)


def _conv(keras: Any, x: Any, labels: int, how: Architecture) -> Any:
    """Halve the time once per convolution, run the LSTM if any, and pool over time."""
    for filters in how.filters:
        x = keras.layers.Conv1D(filters, 5, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    if how.lstm_units:
        x = keras.layers.LSTM(how.lstm_units, return_sequences=True)(x)
    x = keras.layers.Concatenate()(
        [keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)]
    )
    # A generator of its own, whose state a checkpoint can hold.
    x = keras.layers.Dropout(how.dropout, force_generator=True)(x)
    return keras.layers.Dense(labels, activation="softmax")(x)


def _of_convolutions(name: str, filters: tuple[int, ...], lstm_units: int) -> Architecture:
    return Architecture(
        name=name,
        layers=_conv,
        epochs=30,
        batch_windows=128,
        learning_rate=2e-3,
        label_smoothing=0.05,
        filters=filters,
        lstm_units=lstm_units,
        dropout=0.3,
    )


_ARCHITECTURES = (
    _of_convolutions("conv-lstm", (32, 48), 48),
    _of_convolutions("tiny", (16, 24), 24),
    _of_convolutions("cnn", (32, 48, 64), 0),
    Architecture(
        name="tutorial",
        layers=_tutorial,
        epochs=300,
        batch_windows=1500,
        learning_rate=2.5e-3,
        augment=False,
        lstm_units=32,
    ),
)

ARCHITECTURES = {architecture.name: architecture for architecture in _ARCHITECTURES}
