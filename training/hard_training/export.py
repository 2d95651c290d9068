"""A trained network to a .tflite and its card, past gates that no bad model gets through.

The recipe: the same layers built with a batch of one, weights copied, converted.  With tf-keras
the LSTM becomes the fused UNIDIRECTIONAL_SEQUENCE_LSTM; Keras 3's, or an open batch, becomes a
WHILE loop or fails.  Called by `hard_training.produce` and `personalize`; what the edge makes of
a model is found out in child processes (`hard_training.edge_check`), one for each runtime that is
installed.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from hard.classifier import operator_codes
from hard_training.edge_check import PACKAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hard.card import ModelCard
    from hard_training.trained import Trained

__all__ = [
    "EdgeRun",
    "GateFailed",
    "Weights",
    "check_accuracy",
    "check_operators",
    "check_parity",
    "convert",
    "evaluate_on_edge",
    "install",
    "run_on_edge",
    "runtimes",
    "without_clipping",
    "write_card",
]

Weights: TypeAlias = Literal["float", "float16", "dynamic-range", "int8"]

MAX_BYTES = 120_000
MAX_ACCURACY_CHANGE = 0.005
_MAX_DIFFERENCE = {"float": 1e-4, "float16": 0.02}
"""Of any probability; rounding to 8 bits may change more, as long as labels stay."""
_MIN_AGREEMENT = {"float": 0.999, "float16": 0.998, "dynamic-range": 0.995, "int8": 0.99}

_CALIBRATION_WINDOWS = 200
_QUANTISE_TIMEOUT_S = 300.0

# Codes of TensorFlow Lite's schema.fbs.
_FUSED_LSTM = 44
_FORBIDDEN = {32: "a custom operator", 119: "a WHILE loop", 142: "a resource variable"}


class GateFailed(Exception):  # noqa: N818 - a verdict on a model, told to whoever trained it
    """The converted model isn't what was trained, or isn't fit for the edge; nothing is written."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeRun:
    """What an edge runtime gave for windows in sequence, and how long one took it on one core.

    `raw` float32[w, labels] is the graph's output, `probs` float64[w, labels] the calibrated one.
    """

    raw: NDArray[np.float32]
    probs: NDArray[np.float64]
    ms_per_window: float


def runtimes() -> list[str]:
    """Return the edge runtimes that are installed, the one that the daemon prefers first."""
    return [name for name, package in PACKAGES.items() if find_spec(package)]


def convert(trained: Trained, weights: Weights, calibration: NDArray[np.float32]) -> bytes:
    """Return the network as a .tflite; int8 takes its ranges from `calibration` [w, T, C].

    Raises `GateFailed` unless its operators and its size are right.
    """
    converted = without_clipping(
        _quantised(trained, calibration) if weights == "int8" else _converted(trained, weights)
    )
    check_operators(converted, recurrent=trained.network.architecture.recurrent)
    return converted


def _converted(trained: Trained, weights: Weights) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(trained.model(1))
    if weights != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    converted: bytes = converter.convert()
    return converted


def _quantised(trained: Trained, windows: NDArray[np.float32]) -> bytes:
    """Convert to int8 in a child process with a limit on its memory and its time."""
    chosen = np.linspace(0, len(windows) - 1, min(_CALIBRATION_WINDOWS, len(windows)), dtype=int)
    with tempfile.TemporaryDirectory(prefix="hard-train-") as folder:
        source, calibration, target = (
            Path(folder) / name for name in ("a.weights.npz", "windows.npy", "model.tflite")
        )
        trained.save(source)
        np.save(calibration, windows[chosen])
        _child("quantise", source, calibration, target, timeout_s=_QUANTISE_TIMEOUT_S)
        return target.read_bytes()


def without_clipping(model: bytes) -> bytes:
    """Return the model with its LSTMs' cells free, as Keras has them.

    The converter limits them to ±10, which a steady signal exceeds: in such windows the edge would
    say something else than the trained network does.
    """
    changed = bytearray(model)
    graph = schema.Model.GetRootAs(changed, 0).Subgraphs(0)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if operator.BuiltinOptionsType() == schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions:
            options = operator.BuiltinOptions()
            # The second field of the table; 0 is no limit.
            if at := options.Offset(6):
                struct.pack_into("<f", changed, options.Pos + at, 0.0)
    return bytes(changed)


def check_operators(model: bytes, *, recurrent: bool) -> None:
    """Raise `GateFailed` unless an LSTM is fused, all is built in, and the size is fair."""
    codes = operator_codes(model)
    found = [what for code, what in _FORBIDDEN.items() if code in codes]
    if recurrent and _FUSED_LSTM not in codes:
        found.append("no fused LSTM")
    if found:
        raise GateFailed(
            f"it has {', '.join(found)} (operator codes {codes}): build it with tf-keras, not "
            "Keras 3, and with a batch of one"
        )
    if len(model) > MAX_BYTES:
        raise GateFailed(
            f"it has {len(model)} bytes, more than {MAX_BYTES}: use weights dynamic-range or "
            "float16, or a smaller network"
        )


def run_on_edge(
    card: ModelCard, model: bytes, windows: NDArray[np.float32], runtime: str | None = None
) -> EdgeRun:
    """Run float32[w, T, C] windows in sequence through an edge runtime, in a child process.

    `runtime` None: the one that the daemon prefers.
    """
    with tempfile.TemporaryDirectory(prefix="hard-train-") as folder:
        card_path = _write(Path(folder), card, model)
        inputs, outputs = Path(folder) / "windows.npy", Path(folder) / "result.npz"
        np.save(inputs, windows)
        _on_edge(runtime, "run", card_path, inputs, outputs)
        with np.load(outputs) as result:
            return EdgeRun(result["raw"], result["probs"], round(float(result["ms"]), 4))


def check_parity(
    expected: NDArray[np.float32], found: NDArray[np.float32], weights: Weights
) -> dict[str, float]:
    """Compare Keras' and the edge's outputs [w, labels]; return the figures or raise `GateFailed`.

    Float weights must reproduce the probabilities, 8-bit ones the labels.
    """
    difference = float(np.abs(expected - found).max())
    agreement = float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
    if weights in _MAX_DIFFERENCE and not difference < _MAX_DIFFERENCE[weights]:
        raise GateFailed(f"the converted model is {difference:.2g} off the trained one")
    if not agreement >= _MIN_AGREEMENT[weights] or not np.isfinite(difference):
        raise GateFailed(f"{weights} weights change {1 - agreement:.2%} of the labels")
    return {
        "max_probability_difference": round(difference, 7),
        "label_agreement": round(agreement, 5),
    }


def check_accuracy(
    expected: NDArray[np.float32], found: NDArray[np.float32], label: NDArray[np.int64]
) -> dict[str, float]:
    """Compare how often Keras and the edge are right on validation windows, as `check_parity`."""
    before, after = (float((probs.argmax(axis=1) == label).mean()) for probs in (expected, found))
    if not abs(after - before) <= MAX_ACCURACY_CHANGE:
        raise GateFailed(
            f"conversion changes the share of validation windows right from {before:.2%} to "
            f"{after:.2%}"
        )
    return {"accuracy_change": round(after - before, 5)}


def install(out: Path, card: ModelCard, model: bytes) -> tuple[Path, ModelCard]:
    """Write NAME.tflite and NAME.json into `out`; return the card's path and the card, with hash.

    Until each edge runtime has loaded them both lie aside; raises `GateFailed` where one refuses.
    """
    card = card.model_copy(update={"sha256": sha256(model).hexdigest()})
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".aside-") as aside:
        card_path = _write(Path(aside), card, model)
        for runtime in runtimes():
            _on_edge(runtime, "load", card_path)
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
    found: dict[str, Any] = json.loads(_on_edge(None, "evaluate", card_path, data))
    return found


def _compact(card: ModelCard) -> str:
    """Return the card as JSON with each list of plain values on a line of its own."""
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False)
    flat = re.compile(r"\[[^\[\]{}]*\]")
    return flat.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text) + "\n"


def _on_edge(runtime: str | None, *arguments: str | Path) -> str:
    return _child("edge_check", runtime or runtimes()[0], *arguments)


def _child(module: str, *arguments: str | Path, timeout_s: float | None = None) -> str:
    command = [sys.executable, "-m", f"hard_training.{module}", *map(str, arguments)]
    try:
        done = subprocess.run(  # noqa: S603 - ours
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise GateFailed(f"{module} did not end within {timeout_s:g} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        who = "the edge runtime refuses the model" if module == "edge_check" else "no int8 model"
        raise GateFailed(f"{who}: {last[0]}")
    return done.stdout
