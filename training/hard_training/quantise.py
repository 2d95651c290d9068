"""Converts a network to 8-bit weights and activations, in a process of its own.

The converter has been seen to take all memory of the machine, so this process may not have more
than its limit.  Run by `hard_training.export`; not for use by hand.

    python -m hard_training.quantise NAME.weights.npz WINDOWS.npy MODEL.tflite
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from hard_training.trained import Trained

__all__ = ["main"]

_MAX_MEMORY_BYTES = 4 << 30


def main(arguments: list[str]) -> int:
    """Convert, calibrated on float32[w, T, C] windows; inputs and outputs stay float32."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    weights, windows, target = map(Path, arguments)
    calibration = np.load(windows)
    converter = tf.lite.TFLiteConverter.from_keras_model(Trained.load(weights).model(1))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([window[None]] for window in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    target.write_bytes(converter.convert())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
