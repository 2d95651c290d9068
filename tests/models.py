"""Models of a test's own: made from a bundled one, whole or damaged."""

import hashlib
import json

import numpy as np

from hard.card import ModelCard

CARD, PATH = ModelCard.load("pocket")
MODEL = PATH.read_bytes()
CRASHING_SEED = 2
"""With it `mutated` ends a process that loads it, where the runtime is tflite-runtime."""


def written(folder, model=MODEL, stem="pocket", **fields):
    """Write a model beside a card that is right about its hash; return the card's path."""
    card = json.loads(PATH.with_suffix(".json").read_text())
    card |= {"sha256": hashlib.sha256(model).hexdigest(), **fields}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.tflite").write_bytes(model)
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(card))
    return path


def mutated(seed):
    """Return the bundled model with a few bytes or a stretch of it changed."""
    rng = np.random.default_rng(seed)
    model = bytearray(MODEL)
    if seed % 3 == 0:
        at = int(rng.integers(0, len(model) - 64))
        model[at : at + 64] = rng.bytes(64)
    # Most of a model are its weights; what holds it together is at the two ends.
    reach = len(model) if seed % 2 else 2000
    for at in rng.integers(0, reach, int(rng.integers(1, 12))).tolist():
        model[at if seed % 5 else -at] = int(rng.integers(0, 256))
    return bytes(model)
