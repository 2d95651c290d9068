"""The networks that can be trained, and the recipe each is trained by.

Built with tf-keras (Keras 2): its LSTM becomes the fused operator of TFLite, Keras 3's becomes
loops (see `hard_training.export`).  Called by training, and by export once more with a fixed
batch of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tf_keras as keras

if TYPE_CHECKING:
    from collections.abc import Callable

    from hard.card import ModelInput

__all__ = ["ARCHITECTURES", "Architecture"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and its recipe.

    `build(input, labels, batch_size)` gives a model from float32[batch, T, C] in the units of
    `ModelInput` to probabilities float32[batch, labels]; `batch_size` None leaves it open.  Its
    layer named "scale" holds the normalisation and is to be adapted to the training windows.
    `epochs` is the most; the best on validation is kept.  `augment` says whether the
    placement's augmentation is part of the recipe.
    """

    name: str
    description: str
    build: Callable[[ModelInput, int, int | None], Any]
    epochs: int
    batch_windows: int
    learning_rate: float
    label_smoothing: float = 0.0
    augment: bool = True


def _scaled(shape: ModelInput, batch_size: int | None) -> tuple[Any, Any]:
    size = (shape.window_samples, len(shape.channels))
    window = keras.Input(size, batch_size=batch_size, name="window")
    return window, keras.layers.Normalization(name="scale")(window)


def _tutorial(shape: ModelInput, labels: int, batch_size: int | None) -> Any:
    """Stack two LSTM of 32 behind a dense ReLU per step, all weights under L2 of 0.0015.

    G. Chevalier, "LSTMs for Human Activity Recognition" (2016), with its forget bias of 1, batch
    and learning rate.
    """
    decay = keras.regularizers.L2(0.0015 / 2)  # tf.nn.l2_loss there: half the sum of squares
    weights = {"kernel_regularizer": decay, "bias_regularizer": decay}
    window, x = _scaled(shape, batch_size)
    x = keras.layers.Dense(32, activation="relu", **weights)(x)
    for last in (False, True):
        x = keras.layers.LSTM(
            32, return_sequences=not last, recurrent_regularizer=decay, **weights
        )(x)
    return keras.Model(window, keras.layers.Dense(labels, activation="softmax", **weights)(x))


def _conv_lstm(shape: ModelInput, labels: int, batch_size: int | None) -> Any:
    window, x = _scaled(shape, batch_size)
    for filters in (32, 48):
        x = keras.layers.Conv1D(filters, 5, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.LSTM(48, return_sequences=True)(x)
    x = keras.layers.Concatenate()(
        [keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)]
    )
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(window, keras.layers.Dense(labels, activation="softmax")(x))


ARCHITECTURES = {
    "conv-lstm": Architecture(
        name="conv-lstm",
        description=(
            "Conv 32/2 - Conv 48/2 (width 5, batch normalisation, ReLU) - LSTM 48 - average and "
            "maximum over time - dropout 0.3 - softmax"
        ),
        build=_conv_lstm,
        epochs=30,
        batch_windows=128,
        learning_rate=2e-3,
        label_smoothing=0.05,
    ),
    "tutorial": Architecture(
        name="tutorial",
        description="dense ReLU 32 per step - LSTM 32 - LSTM 32, last step - softmax; L2 0.0015",
        build=_tutorial,
        epochs=300,
        batch_windows=1500,
        learning_rate=2.5e-3,
        augment=False,
    ),
}
