"""How often a model is right about people it was not trained on.

`score` is pure; `evaluate` runs a finished model as the daemon does, through `TFLiteClassifier`.
Never imports TensorFlow: an edge runtime can't be loaded after it.  Called by the command line,
and `score` by training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hard.classifier import TFLiteClassifier, runtime_name
from hard.decision import DecisionSettings
from hard_training.datasets import for_placement
from hard_training.timeline import share_right
from hard_training.turning import turned_phones
from hard_training.windows import LabelledWindows, labelled_windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard_training.datasets import Recording
    from hard_training.turning import Turned

__all__ = ["evaluate", "over_people", "score", "windows_of"]

_TURNS = 10
"""How many ways each test person's phone is turned, where it is."""


def evaluate(name_or_card: str | Path, data: Path, turned: Turned = "no") -> dict[str, Any]:
    """Measure a model on the test people of its placement's data set.

    Returns {"model", "runtime", "data_set", "turned", "windows": `score`, "timeline": the share of
    labelled time that is shown right}; where phones are `turned` the windows are those of several
    turns, the timeline that of the first.  A model of the upright frame gets the reference from
    the same recordings before it is known ("warm") in windows, in time in the timeline ("cold").
    Raises `ModelRefused` and `DataMissing`.
    """
    classifier = TFLiteClassifier.load(name_or_card)
    card = classifier.card
    data_set = for_placement(card.placement)
    recordings = [r for r in data_set.recordings(data) if r.person in data_set.split.test]
    rng = np.random.default_rng(0)
    turns = [
        turned_phones(recordings, turned, card.input, rng)
        for _ in range(1 if turned == "no" else _TURNS)
    ]
    recordings = turns[0]
    if card.input.frame == "upright":  # the timeline learns the reference as time goes by
        recordings.sort(key=lambda recording: recording.order)
    windows = windows_of(turns, card.labels, card.input)
    of_person = {
        person: [r for r in recordings if r.person == person]
        for person in sorted({r.person for r in recordings})
    }
    timeline = {
        str(person): share_right(of_person[person], classifier, DecisionSettings())
        for person in of_person
    }
    return {
        "model": card.identity,
        "runtime": runtime_name(),
        "data_set": data_set.name,
        "turned": turned,
        "windows": score(windows, classifier.classify(windows.values), card.labels),
        "timeline": over_people(timeline),
    }


def windows_of(
    versions: Sequence[Sequence[Recording]], labels: Sequence[str], wanted: ModelInput
) -> LabelledWindows:
    """Return the windows of several versions of the same recordings, one after the other."""
    cuts = [labelled_windows(recordings, labels, wanted) for recordings in versions]
    return LabelledWindows(
        *(
            np.concatenate([getattr(cut, name) for cut in cuts])
            for name in ("values", "label", "person", "recording", "t_start")
        )
    )


def over_people(shares: dict[str, float]) -> dict[str, Any]:
    """Return the mean of people's shares, its bootstrap interval, and the shares, to 1e-4."""
    return {
        "mean_accuracy": round(float(np.mean(list(shares.values()))), 4),
        "interval_95": _bootstrap_interval(list(shares.values())),
        "people": {person: round(share, 4) for person, share in shares.items()},
    }


def score(
    windows: LabelledWindows, probs: NDArray[np.floating[Any]], labels: Sequence[str]
) -> dict[str, Any]:
    """Compare probabilities [w, labels] with the windows' labels; shares are rounded to 1e-4.

    `mean_accuracy` is the mean over people of each one's share of windows right, `interval_95`
    its bootstrap interval over people; `accuracy` counts every window the same.  `macro_f1` is the
    mean over labels that there are windows of, all people's windows together, with its interval
    over people; `mean_macro_f1` the mean over people of each one's.  `reliability` has a row per
    bin of confidence: windows, mean confidence, share right.  Raises ValueError for no windows.
    """
    if not len(windows):
        raise ValueError("no window to score")
    said = probs.argmax(axis=1)
    right = said == windows.label
    numbers, whose = np.unique(windows.person, return_inverse=True)
    counts = np.zeros((len(numbers), len(labels), len(labels)), np.int64)
    np.add.at(counts, (whose, windows.label, said), 1)
    people = {str(p): float(right[windows.person == p].mean()) for p in numbers}
    worst = min(people, key=lambda person: people[person])
    reliability = _reliability(probs.max(axis=1), right)
    return {
        "windows": len(windows),
        **over_people(people),
        "worst_person": {"person": worst, "accuracy": round(people[worst], 4)},
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(float(_macro_f1(counts.sum(axis=0))), 4),
        "macro_f1_interval_95": _macro_f1_interval(counts),
        "mean_macro_f1": round(float(np.mean(_macro_f1(counts))), 4),
        "calibration_error": _calibration_error(reliability),
        "reliability": reliability,
        "labels": {
            label: _one_label(said == i, windows.label == i) for i, label in enumerate(labels)
        },
        "confusion": counts.sum(axis=0).tolist(),
    }


def _macro_f1(counts: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the mean F1 of confusion matrices [..., true, said] over the labels that are true."""
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    true, said = counts.sum(axis=-1), counts.sum(axis=-2)
    f1 = 2 * both / np.maximum(true + said, 1)
    present = true > 0
    mean: NDArray[np.float64] = (f1 * present).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return mean


def _one_label(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> dict[str, float]:
    both = int((said & true).sum())
    precision = both / max(int(said.sum()), 1)
    recall = both / max(int(true.sum()), 1)
    f1 = 2 * both / max(int(said.sum()) + int(true.sum()), 1)
    return {
        "windows": int(true.sum()),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
    }


def _bootstrap_interval(shares: list[float]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean under 10,000 draws of people."""
    rng = np.random.default_rng(0)
    return _middle_95(rng.choice(shares, (10_000, len(shares))).mean(axis=1))


def _macro_f1_interval(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the same of the macro F1 of confusion matrices [people, true, said], 2,000 draws."""
    people = len(counts)
    rng = np.random.default_rng(0)
    times = rng.multinomial(people, np.full(people, 1 / people), 2000)
    return _middle_95(_macro_f1(np.tensordot(times, counts, axes=1)))


def _middle_95(draws: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(draws, (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)


def _reliability(
    confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_], bins: int = 15
) -> list[list[float]]:
    """Return windows, mean confidence and share right of each bin that is not empty."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for b in np.unique(bin_of):
        inside = bin_of == b
        means = (float(confidence[inside].mean()), float(right[inside].mean()))
        rows.append([int(inside.sum()), *(round(mean, 4) for mean in means)])
    return rows


def _calibration_error(reliability: list[list[float]]) -> float:
    """Return the expected calibration error (Guo et al. 2017) over the bins."""
    windows = sum(n for n, _, _ in reliability)
    return round(sum(n * abs(sure - right) for n, sure, right in reliability) / windows, 4)
