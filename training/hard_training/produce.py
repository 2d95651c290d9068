"""From data sets to a model and its card: the one path that `hard-train run` takes.

    recipe, recordings -> windows -> fit -> convert -> edge run -> gates, scores -> card -> install

Everything is chosen on the validation people.  The test people's windows are not looked at, unless
`opened` is called on the finished model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.api import STANDARD_GRAVITY_M_S2, UnusableInput
from hard.card import Golden, ModelCard, ModelInput, Provenance
from hard_training.augmentation import Augmentation, upright
from hard_training.cache import cached_windows
from hard_training.datasets import data_set_named
from hard_training.evaluate import score
from hard_training.evaluation.provenance import versions
from hard_training.export import (
    check_accuracy,
    check_parity,
    convert,
    evaluate_on_edge,
    install,
    run_on_edge,
    runtimes,
    write_card,
)
from hard_training.train import fit
from hard_training.trained import Trained
from hard_training.usual import usual
from hard_training.windows import joined, numbered_apart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.card import Usual
    from hard_training.datasets import DataSet
    from hard_training.export import Weights
    from hard_training.learners import OnEpoch
    from hard_training.recipe import Recipe
    from hard_training.run_folder import RunFolder
    from hard_training.train import Fitted
    from hard_training.windows import LabelledWindows

__all__ = ["Exported", "export", "golden_window", "opened", "produce", "transitions"]

_TRAINING_STRIDE_SAMPLES = 16
_POSTURES = ("sitting", "standing", "laying")
_RAREST_TRANSITION = 0.005
_WHERE = {"pocket": "phone in the front trouser pocket", "waist": "phone on the waist"}


@dataclass(frozen=True, slots=True)
class _Parts:
    """The windows of the people who train and of those who choose, who they are, what they do."""

    train: LabelledWindows
    validation: LabelledWindows
    subjects: dict[str, tuple[int, ...]]
    transitions: tuple[tuple[float, ...], ...]
    usual: Usual


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """A model that passed all gates but the last, which is to be installed."""

    model: bytes
    golden: Golden
    probs: NDArray[np.float64]
    """Of the windows it was compared on, calibrated, from the runtime that the daemon prefers."""
    figures: dict[str, Any]


def produce(
    recipe: Recipe,
    data: Path,
    folder: RunFolder,
    *,
    command: str,
    fresh: bool = False,
    on_epoch: OnEpoch | None = None,
) -> ModelCard:
    """Train, convert, check and write model, card and figures into the run's folder.

    A run of this recipe that was cut off goes on where it was, unless `fresh`.  Raises
    `DataMissing`, `UnusableInput` and, having written no model, `GateFailed`.
    """
    folder.begin(fresh=fresh)
    data_sets = [data_set_named(name) for name in recipe.data_sets]
    labels = recipe.labels or data_sets[0].labels
    parts = _parts(recipe, data_sets, labels, data)
    architecture = recipe.network.architecture
    fitted = fit(
        architecture,
        recipe.input,
        labels,
        parts.train,
        parts.validation,
        augmentation=_augmentation(recipe, data_sets[0])
        if architecture.augment
        else Augmentation(),
        epochs=architecture.epochs,
        seed=recipe.seed,
        on_epoch=on_epoch,
        checkpoint=folder.checkpoint,
    )
    trained = Trained(recipe.network, recipe.input, len(labels), fitted.model.get_weights())
    draft = _draft(recipe, data_sets, labels, parts, fitted, command)
    exported = export(draft, trained, parts.validation, recipe.weights, parts.train.values)
    metrics = {
        "best_epoch": fitted.best_epoch,
        "export": exported.figures,
        "validation": score(parts.validation, exported.probs, labels),
    }
    provenance = draft.provenance.model_copy(update={"metrics": metrics})
    card = draft.model_copy(update={"golden": exported.golden, "provenance": provenance})
    replace(trained, sha256=sha256(exported.model).hexdigest()).save(folder.weights)
    _, card = install(folder.path, card, exported.model)
    folder.write_training(fitted.history, parts.validation, exported.probs)
    folder.finish(_figures(recipe, card))
    return card


def opened(path: Path, card: ModelCard, data: Path) -> ModelCard:
    """Measure an installed model on its test people, and write the figures into its card.

    Windows as the edge's runtime judges them, and how much of the timeline is right.
    """
    found = evaluate_on_edge(path, data)
    measured = {"test": found["windows"], "test_timeline": found["timeline"]}
    subjects = card.provenance.subjects | {"test": tuple(map(int, found["windows"]["people"]))}
    provenance = card.provenance.model_copy(
        update={"metrics": card.provenance.metrics | measured, "subjects": subjects}
    )
    card = card.model_copy(update={"provenance": provenance})
    write_card(path, card)
    return card


def _augmentation(recipe: Recipe, first: DataSet) -> Augmentation:
    if recipe.augmentation is not None:
        return recipe.augmentation
    return first.augmentation if recipe.frame == "device" else upright(first.augmentation)


def _parts(
    recipe: Recipe, data_sets: Sequence[DataSet], labels: Sequence[str], data: Path
) -> _Parts:
    finely = recipe.input.model_copy(update={"stride_samples": _TRAINING_STRIDE_SAMPLES})
    subjects: dict[str, list[int]] = {"train": [], "validation": []}
    kept: dict[str, list[LabelledWindows]] = {"train": [], "validation": [], "coarse": []}
    for number, data_set in enumerate(data_sets):
        coarse = cached_windows(data_set, data, labels, recipe.input)
        parts = {
            person: data_set.split.part(person) for person in np.unique(coarse.person).tolist()
        }
        for name, windows in (
            ("train", cached_windows(data_set, data, labels, finely)),
            ("validation", coarse),
            ("coarse", coarse),
        ):
            part = "train" if name == "coarse" else name
            people = [person for person in parts if parts[person] == part]
            kept[name].append(numbered_apart(windows.part(np.isin(windows.person, people)), number))
            if name == part:
                subjects[part] += np.unique(kept[name][-1].person).tolist()
    if not subjects["train"] or not subjects["validation"]:
        raise UnusableInput(
            f"data_sets: {', '.join(recipe.data_sets)} leave nobody to train on or to choose by"
        )
    train = joined(kept["train"])
    return _Parts(
        train=train,
        validation=joined(kept["validation"]),
        subjects={name: tuple(people) for name, people in subjects.items()},
        transitions=transitions(joined(kept["coarse"]), len(labels)),
        usual=usual(train, labels),
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


def export(
    draft: ModelCard,
    trained: Trained,
    checked: LabelledWindows,
    weights: Weights,
    calibration: NDArray[np.float32],
) -> Exported:
    """Convert, and compare with the trained network on `checked` windows on each edge runtime.

    Raises `GateFailed`.
    """
    model = convert(trained, weights, calibration)
    golden = golden_window(draft.input)
    windows = np.concatenate([golden[None], checked.values])
    expected = trained.model(None).predict(windows, batch_size=1024, verbose=0)
    figures: dict[str, Any] = {"weights": weights, "bytes": len(model), "runtimes": {}}
    runs = {}
    for runtime in runtimes():
        runs[runtime] = run = run_on_edge(draft, model, windows, runtime)
        figures["runtimes"][runtime] = (
            check_parity(expected, run.raw, weights)
            | check_accuracy(expected[1:], run.raw[1:], checked.label)
            | {"ms_per_window": run.ms_per_window}
        )
    first = runs[runtimes()[0]]
    output = tuple(round(float(p), 5) for p in first.raw[0])
    rows = tuple(tuple(round(float(v), 3) for v in row) for row in golden)
    return Exported(model, Golden(window=rows, output=output), first.probs[1:], figures)


def _figures(recipe: Recipe, card: ModelCard) -> dict[str, Any]:
    provenance = card.provenance
    return {
        "model": card.identity,
        "recipe": recipe.model_dump(mode="json"),
        "labels": list(card.labels),
        "parameters": card.parameters,
        "temperature": card.temperature,
        "subjects": {name: list(people) for name, people in provenance.subjects.items()},
        "command": provenance.command,
        "created": provenance.created,
        "versions": provenance.versions,
        **provenance.metrics,
    }


def _draft(
    recipe: Recipe,
    data_sets: Sequence[DataSet],
    labels: tuple[str, ...],
    parts: _Parts,
    fitted: Fitted,
    command: str,
) -> ModelCard:
    """Return the card as far as it is known before the model is: no hash, golden or metrics."""
    wanted, architecture = recipe.input, recipe.network.architecture
    nothing = ((0.0,) * len(wanted.channels),) * wanted.window_samples
    where = _WHERE.get(recipe.placement, recipe.placement)
    return ModelCard(
        name=recipe.name,
        description=f"{', '.join(labels)}; {where}",
        placement=recipe.placement,
        labels=labels,
        postures=tuple(p for p in _POSTURES if p in labels),
        input=wanted,
        architecture=f"{architecture.name}: {architecture.description}",
        parameters=fitted.model.count_params(),
        temperature=fitted.temperature,
        transitions=parts.transitions,
        decision=recipe.decision,
        usual=parts.usual,
        sha256="0" * 64,
        golden=Golden(window=nothing, output=(0.0,) * len(labels)),
        provenance=Provenance(
            data_sets=tuple(data_set.title for data_set in data_sets),
            licence="; ".join(data_set.licence for data_set in data_sets),
            subjects=parts.subjects,
            split="by subject; everything was chosen on the validation subjects",
            metrics={},
            command=command,
            created=f"{datetime.now(UTC):%Y-%m-%d}",
            versions=versions(),
        ),
    )
