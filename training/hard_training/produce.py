"""From a data set to a model and its card: the one path that `hard-train run` takes.

    recordings -> windows -> fit -> convert -> edge run -> gates, scores -> card -> install

Everything is chosen on the validation people; the test people's windows are looked at once, when
the model is final, and the figures go into the card.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from hard.api import STANDARD_GRAVITY_M_S2
from hard.card import Golden, ModelCard, ModelInput, Provenance
from hard_training.augmentation import Augmentation, upright
from hard_training.datasets import for_placement
from hard_training.evaluate import score
from hard_training.export import (
    check_parity,
    convert,
    evaluate_on_edge,
    install,
    run_on_edge,
    write_card,
)
from hard_training.models import ARCHITECTURES
from hard_training.train import fit
from hard_training.windows import labelled_windows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hard_training.datasets import DataSet, Recording
    from hard_training.export import Weights
    from hard_training.models import Architecture
    from hard_training.train import Fitted, OnEpoch
    from hard_training.windows import LabelledWindows

__all__ = ["INPUT", "Frame", "golden_window", "produce", "transitions", "with_timeline"]

Frame: TypeAlias = Literal["device", "upright"]

INPUT = ModelInput(
    channels=("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"),
    sampling_rate_hz=50,
    window_samples=128,
    stride_samples=64,
)
_TRAINING_STRIDE_SAMPLES = 16
_POSTURES = ("sitting", "standing", "laying")
_RAREST_TRANSITION = 0.005
_WHERE = {"pocket": "phone in the front trouser pocket", "waist": "phone on the waist"}


@dataclass(frozen=True, slots=True)
class _Parts:
    """One data set's recordings and windows by part of the split."""

    train: LabelledWindows
    validation: LabelledWindows
    test: LabelledWindows
    subjects: dict[str, tuple[int, ...]]
    transitions: tuple[tuple[float, ...], ...]


def produce(
    placement: str,
    architecture: str,
    data: Path,
    out: Path,
    *,
    frame: Frame = "device",
    epochs: int,
    seed: int,
    weights: Weights,
    command: str,
    on_epoch: OnEpoch,
) -> tuple[Path, ModelCard]:
    """Train, convert, check and write `out`/PLACEMENT.tflite and .json; return card path and card.

    Raises `DataMissing` and, having written nothing, `GateFailed`.
    """
    data_set, recipe = for_placement(placement), ARCHITECTURES[architecture]
    wanted = INPUT.model_copy(update={"frame": frame})
    augmentation = data_set.augmentation if frame == "device" else upright(data_set.augmentation)
    parts = _parts(data_set, data, wanted)
    fitted = fit(
        recipe,
        wanted,
        len(data_set.labels),
        parts.train,
        parts.validation,
        augmentation=augmentation if recipe.augment else Augmentation(),
        epochs=epochs,
        seed=seed,
        on_epoch=on_epoch,
    )
    draft = _draft(data_set, recipe, wanted, parts, fitted, command)
    model, golden, metrics = _through_gates(draft, recipe, parts, fitted, weights)
    provenance = draft.provenance.model_copy(update={"metrics": metrics})
    card = draft.model_copy(update={"golden": golden, "provenance": provenance})
    path, card = install(out, card, model)
    return path, with_timeline(path, card, data)


def with_timeline(path: Path, card: ModelCard, data: Path) -> ModelCard:
    """Add to an installed model's card how much of the test people's timeline is right."""
    timeline = evaluate_on_edge(path, data)["timeline"]
    metrics = card.provenance.metrics | {"test_timeline": timeline}
    provenance = card.provenance.model_copy(update={"metrics": metrics})
    card = card.model_copy(update={"provenance": provenance})
    write_card(path, card)
    return card


def _parts(data_set: DataSet, data: Path, wanted: ModelInput) -> _Parts:
    by_part: dict[str, list[Recording]] = {"train": [], "validation": [], "test": []}
    for recording in data_set.recordings(data):
        by_part[data_set.split.part(recording.person)].append(recording)
    finely = wanted.model_copy(update={"stride_samples": _TRAINING_STRIDE_SAMPLES})
    labels = data_set.labels
    return _Parts(
        train=labelled_windows(by_part["train"], labels, finely),
        validation=labelled_windows(by_part["validation"], labels, wanted),
        test=labelled_windows(by_part["test"], labels, wanted),
        subjects={k: tuple(sorted({r.person for r in v})) for k, v in by_part.items()},
        transitions=transitions(labelled_windows(by_part["train"], labels, wanted), len(labels)),
    )


def transitions(windows: LabelledWindows, labels: int) -> tuple[tuple[float, ...], ...]:
    """Return how often one label follows another from window to window, rows summing to 1.

    Counted within recordings, over unlabelled time as if it took no time.  No change is rarer
    than a floor: people do what the recordings' script did not ask for.
    """
    counts = np.zeros((labels, labels))
    same = windows.recording[1:] == windows.recording[:-1]
    np.add.at(counts, (windows.label[:-1][same], windows.label[1:][same]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.maximum(shares, _RAREST_TRANSITION)
    np.fill_diagonal(shares, 0)
    np.fill_diagonal(shares, 1 - shares.sum(axis=1))
    return tuple(tuple(round(float(p), 5) for p in row) for row in shares)


def golden_window(wanted: ModelInput) -> NDArray[np.float32]:
    """Return a made-up window float32[T, C]: gravity, a 2 Hz wave, seeded noise; three decimals."""
    rng = np.random.default_rng(2)
    t_s = np.arange(wanted.window_samples) / wanted.sampling_rate_hz
    window = rng.normal(0, 0.3, (wanted.window_samples, len(wanted.channels)))
    window += np.sin(2 * np.pi * 2 * t_s)[:, None] * np.linspace(0.5, 2, window.shape[1])
    window[:, 1] += STANDARD_GRAVITY_M_S2
    return window.round(3).astype(np.float32)


def _through_gates(
    draft: ModelCard, recipe: Architecture, parts: _Parts, fitted: Fitted, weights: Weights
) -> tuple[bytes, Golden, dict[str, Any]]:
    """Convert, compare with the trained network, measure; return model, golden and figures."""

    def build(batch_size: int) -> Any:
        return recipe.build(draft.input, len(draft.labels), batch_size)

    model = convert(build, fitted.model, weights)
    golden = golden_window(draft.input)
    windows = np.concatenate([golden[None], parts.validation.values, parts.test.values])
    edge = run_on_edge(draft, model, windows)
    expected = fitted.model.predict(windows, batch_size=1024, verbose=0)
    parity = check_parity(expected, edge.raw, weights)
    _, validation, test = np.split(edge.probs, (1, 1 + len(parts.validation)))
    metrics = {
        "best_epoch": fitted.best_epoch,
        "export": {"weights": weights, "bytes": len(model)} | parity,
        "validation": score(parts.validation, validation, draft.labels),
        "test": score(parts.test, test, draft.labels),
    }
    output = tuple(round(float(p), 5) for p in edge.raw[0])
    rows = tuple(tuple(round(float(v), 3) for v in row) for row in golden)
    return model, Golden(window=rows, output=output), metrics


def _draft(
    data_set: DataSet,
    recipe: Architecture,
    wanted: ModelInput,
    parts: _Parts,
    fitted: Fitted,
    command: str,
) -> ModelCard:
    """Return the card as far as it is known before the model is: no hash, golden or metrics."""
    labels = data_set.labels
    nothing = ((0.0,) * len(wanted.channels),) * wanted.window_samples
    return ModelCard(
        name=data_set.placement,
        description=f"{', '.join(labels)}; {_WHERE[data_set.placement]}",
        placement=data_set.placement,
        labels=labels,
        postures=tuple(p for p in _POSTURES if p in labels),
        input=wanted,
        architecture=f"{recipe.name}: {recipe.description}",
        parameters=fitted.model.count_params(),
        temperature=fitted.temperature,
        transitions=parts.transitions,
        sha256="0" * 64,
        golden=Golden(window=nothing, output=(0.0,) * len(labels)),
        provenance=Provenance(
            data_sets=(data_set.title,),
            licence=data_set.licence,
            subjects=parts.subjects,
            split="by subject; everything was chosen on the validation subjects",
            metrics={},
            command=command,
            created=f"{datetime.now(UTC):%Y-%m-%d}",
            versions={"python": platform.python_version(), "tensorflow": tf.__version__},
        ),
    )
