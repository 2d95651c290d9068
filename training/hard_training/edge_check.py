"""What the edge makes of a model, in a process of its own.

Training holds TensorFlow, after which no edge runtime can be loaded; so `hard_training.export`
runs this module as a child and reads the file it leaves.  Not for use by hand.

    python -m hard_training.edge_check run CARD WINDOWS.npy RESULT.npz
    python -m hard_training.edge_check load CARD
    python -m hard_training.edge_check evaluate CARD DATA
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from hard.card import ModelCard, ModelRefused
from hard.classifier import TFLiteClassifier
from hard_training.evaluate import evaluate

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the windows through a model whose card is a draft still, or load a finished one."""
    what, card_path, *files = arguments
    try:
        if what == "load":
            TFLiteClassifier.load(card_path)
        elif what == "evaluate":
            print(json.dumps(evaluate(card_path, Path(*files))))  # noqa: T201 - for the parent
        else:
            _run(card_path, *files)
    except ModelRefused as refusal:
        print(refusal, file=sys.stderr)  # noqa: T201 - the parent reads it here
        return 1
    return 0


def _run(card_path: str, windows_path: str, result_path: str) -> None:
    card, model_path = ModelCard.load(card_path)
    classifier = TFLiteClassifier(card, model_path.read_bytes())
    windows = np.load(windows_path)
    np.savez(result_path, raw=classifier.raw(windows), probs=classifier.classify(windows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
