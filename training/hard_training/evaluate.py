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

    from hard.card import ModelCard
    from hard_training.datasets import Recording
    from hard_training.turning import Turned

__all__ = ["evaluate", "score"]

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
    windows = _windows(turns, card)
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


def _windows(turns: Sequence[Sequence[Recording]], card: ModelCard) -> LabelledWindows:
    cuts = [labelled_windows(recordings, card.labels, card.input) for recordings in turns]
    return LabelledWindows(
        np.concatenate([cut.values for cut in cuts]),
        np.concatenate([cut.label for cut in cuts]),
        np.concatenate([cut.person for cut in cuts]),
        np.concatenate([cut.recording for cut in cuts]),
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
    its bootstrap interval over people; `accuracy` counts every window the same.
    """
    said = probs.argmax(axis=1)
    right = said == windows.label
    people = {str(p): float(right[windows.person == p].mean()) for p in np.unique(windows.person)}
    per_label = {label: _one_label(said == i, windows.label == i) for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (windows.label, said), 1)
    return {
        "windows": len(windows),
        **over_people(people),
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(float(np.mean([row["f1"] for row in per_label.values()])), 4),
        "calibration_error": _calibration_error(probs.max(axis=1), right),
        "labels": per_label,
        "confusion": counts.tolist(),
    }


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
    means = rng.choice(shares, (10_000, len(shares))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)


def _calibration_error(
    confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Return the expected calibration error (Guo et al. 2017) over equal bins of confidence."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    off = [
        abs(float((confidence - right)[bin_of == b].sum())) / len(right) for b in np.unique(bin_of)
    ]
    return round(sum(off), 4)
