"""What an edge runtime makes of a model, in a process of its own.

Training holds TensorFlow, after which no edge runtime can be loaded, and two runtimes don't share
a process either; so `hard_training.export` runs this module as a child and reads the file it
leaves.  Not for use by hand.

    python -m hard_training.edge_check RUNTIME run CARD WINDOWS.npy RESULT.npz
    python -m hard_training.edge_check RUNTIME load CARD
    python -m hard_training.edge_check RUNTIME evaluate CARD DATA
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hard.card import ModelCard, ModelRefused
from hard.classifier import TFLiteClassifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PACKAGES", "main", "ms_per_window"]

PACKAGES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
"""The runtimes and their packages, in the order in which the daemon takes them."""

_TIMED_WINDOWS = 200
_ROUNDS = 5


def main(arguments: list[str]) -> int:
    """Run the windows through a model whose card is a draft still, or load a finished one."""
    runtime, what, card_path, *files = arguments
    for name, package in PACKAGES.items():
        if name != runtime:
            sys.modules[package] = None  # type: ignore[assignment] # to import it now fails
    try:
        if what == "load":
            TFLiteClassifier.load(card_path)
        elif what == "evaluate":
            _evaluate(card_path, *files)
        else:
            _run(card_path, *files)
    except ModelRefused as refusal:
        print(refusal, file=sys.stderr)  # noqa: T201 - the parent reads it here
        return 1
    return 0


def ms_per_window(classifier: TFLiteClassifier, windows: NDArray[np.float32]) -> float:
    """Return how long one window takes on one core, in the least disturbed of five rounds."""
    some = windows[:_TIMED_WINDOWS]
    took_s = []
    for _ in range(_ROUNDS):
        begun_s = time.perf_counter()
        classifier.raw(some)
        took_s.append(time.perf_counter() - begun_s)
    return 1000 * min(took_s) / len(some)


def _evaluate(card_path: str, data: str) -> None:
    from hard_training.evaluate import evaluate  # noqa: PLC0415 - the other two need no data sets

    print(json.dumps(evaluate(card_path, Path(data))))  # noqa: T201 - for the parent


def _run(card_path: str, windows_path: str, result_path: str) -> None:
    card, model_path = ModelCard.load(card_path)
    classifier = TFLiteClassifier(card, model_path.read_bytes())
    windows = np.load(windows_path)
    np.savez(
        result_path,
        raw=classifier.raw(windows),
        probs=classifier.classify(windows),
        ms=ms_per_window(classifier, windows),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
