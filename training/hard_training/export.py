"""A trained network to a .tflite and its card, past gates that no bad model gets through.

The recipe: the same layers built with a batch of one, weights copied, converted.  With tf-keras
the LSTM becomes the fused UNIDIRECTIONAL_SEQUENCE_LSTM; Keras 3's, or an open batch, becomes a
WHILE loop or fails.  Called by `hard_training.produce`; what the edge makes of a model is found
out in a child process (`hard_training.edge_check`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from hard.classifier import operator_codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hard.card import ModelCard

__all__ = [
    "EdgeRun",
    "GateFailed",
    "Weights",
    "check_operators",
    "check_parity",
    "convert",
    "evaluate_on_edge",
    "install",
    "run_on_edge",
    "write_card",
]

Weights: TypeAlias = Literal["float", "dynamic-range"]

MAX_BYTES = 150_000
MAX_FLOAT_DIFFERENCE = 1e-4
MIN_AGREEMENT = 0.995

# Codes of TensorFlow Lite's schema.fbs.
_FUSED_LSTM = 44
_WHILE = 119


class GateFailed(Exception):  # noqa: N818 - a verdict on a model, told to whoever trained it
    """The converted model isn't what was trained, or isn't fit for the edge; nothing is written."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeRun:
    """What the edge runtime gave for windows in sequence.

    `raw` float32[w, labels] is the graph's output, `probs` float64[w, labels] the calibrated one.
    """

    raw: NDArray[np.float32]
    probs: NDArray[np.float64]


def convert(build: Callable[[int], Any], trained: Any, weights: Weights) -> bytes:
    """Return `trained` as a .tflite, built anew by `build(1)`.

    Raises `GateFailed` unless its LSTM is the fused operator.
    """
    model = build(1)
    model.set_weights(trained.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if weights == "dynamic-range":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converted: bytes = converter.convert()
    check_operators(converted)
    return converted


def check_operators(model: bytes) -> None:
    """Raise `GateFailed` unless the model has a fused LSTM, no loop, and a fair size."""
    codes = operator_codes(model)
    if _FUSED_LSTM not in codes or _WHILE in codes:
        how = "a WHILE loop" if _WHILE in codes else "no fused operator"
        raise GateFailed(
            f"its LSTM became {how} (operator codes {codes}): build it with tf-keras, not "
            "Keras 3, and with a batch of one"
        )
    if len(model) > MAX_BYTES:
        raise GateFailed(f"it has {len(model)} bytes, more than {MAX_BYTES}: use a smaller network")


def run_on_edge(card: ModelCard, model: bytes, windows: NDArray[np.float32]) -> EdgeRun:
    """Run float32[w, T, C] windows in sequence through the edge runtime, in a child process."""
    with tempfile.TemporaryDirectory(prefix="hard-train-") as folder:
        card_path = _write(Path(folder), card, model)
        inputs, outputs = Path(folder) / "windows.npy", Path(folder) / "result.npz"
        np.save(inputs, windows)
        _child("run", card_path, inputs, outputs)
        with np.load(outputs) as result:
            return EdgeRun(result["raw"], result["probs"])


def check_parity(
    expected: NDArray[np.float32], found: NDArray[np.float32], weights: Weights
) -> dict[str, float]:
    """Compare Keras' and the edge's outputs [w, labels]; return the figures or raise `GateFailed`.

    Float weights must reproduce the probabilities, dynamic-range (8-bit) ones the labels.
    """
    difference = float(np.abs(expected - found).max())
    agreement = float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
    if weights == "dynamic-range" and not agreement >= MIN_AGREEMENT:
        raise GateFailed(f"8-bit weights change {1 - agreement:.2%} of the labels")
    if weights == "float" and not difference < MAX_FLOAT_DIFFERENCE:
        raise GateFailed(f"the converted model is {difference:.2g} off the trained one")
    return {
        "max_probability_difference": round(difference, 7),
        "label_agreement": round(agreement, 5),
    }


def install(out: Path, card: ModelCard, model: bytes) -> tuple[Path, ModelCard]:
    """Write NAME.tflite and NAME.json into `out`; return the card's path and the card, with hash.

    Until the edge has loaded them both lie aside; raises `GateFailed` where it refuses them.
    """
    card = card.model_copy(update={"sha256": sha256(model).hexdigest()})
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".aside-") as aside:
        card_path = _write(Path(aside), card, model)
        _child("load", card_path)
        for path in (card_path.with_suffix(".tflite"), card_path):
            path.replace(out / path.name)
    return out / card_path.name, card


def _write(folder: Path, card: ModelCard, model: bytes) -> Path:
    path = folder / f"{card.name}.json"
    path.with_suffix(".tflite").write_bytes(model)
    write_card(path, card)
    return path


def write_card(path: Path, card: ModelCard) -> None:
    """Write a card, or replace the one that is there."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(_compact(card), "utf-8")
    aside.replace(path)


def evaluate_on_edge(card_path: Path, data: Path) -> dict[str, Any]:
    """Return what `hard-train evaluate` finds, from a child process without TensorFlow."""
    found: dict[str, Any] = json.loads(_child("evaluate", card_path, data))
    return found


def _compact(card: ModelCard) -> str:
    """Return the card as JSON with each list of plain values on a line of its own."""
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False)
    flat = re.compile(r"\[[^\[\]{}]*\]")
    return flat.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text) + "\n"


def _child(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "hard_training.edge_check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise GateFailed(f"the edge runtime refuses the model: {last[0]}")
    return done.stdout
