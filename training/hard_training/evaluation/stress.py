"""A finished model where something is otherwise than in training, through the edge's runtime.

    orientation   the phone turned about the vertical, or any way
    rate          20 to 200 Hz at the input, resampled before the edge conditions it
    sensor        gain and bias errors, no gyroscope
    data set      other people with other phones, postures counted as one (`still`)
    no class      motions that the model has no label for: how many come out confident

Windows, each person's reference known ("warm"), as in `hard_training.evaluate`; for what a wearer
sees there is `hard_training.evaluation.streaming`.  Called by `hard-train stress` and by reports.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.api import NS_PER_S, UnusableInput
from hard.classifier import runtime_name
from hard.decision import UNKNOWN, DecisionSettings
from hard_training.datasets import Segment
from hard_training.datasets.labels import indexed
from hard_training.evaluate import score, windows_of
from hard_training.evaluation.changes import (
    MADE_UP_S,
    NO_CLASS,
    Errors,
    at_rate,
    made_up,
    with_errors,
    without_gyro,
)
from hard_training.evaluation.transfer import merged
from hard_training.timeline import joined, shown
from hard_training.turning import turned_phones
from hard_training.windows import labelled_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from hard.card import ModelCard, ModelInput
    from hard.classifier import TFLiteClassifier
    from hard_training.datasets import Recording
    from hard_training.evaluation.crossval import OnStep
    from hard_training.windows import GridRecording

__all__ = ["stress"]

_TURNS = 3
_RATES_HZ = (20, 25, 50, 100, 200)
_SURE = (0.7, 0.9)
"""Besides the probability below which the daemon, as shipped, says unknown."""
_MADE_UP = 10
_KEPT = ("windows", "accuracy", "mean_accuracy", "interval_95", "macro_f1", "macro_f1_interval_95")


@dataclass(frozen=True, slots=True)
class _Change:
    """One row: what is otherwise, and the recordings of which it is true, several times over."""

    group: str
    name: str
    make: Callable[[Sequence[Recording], ModelInput, np.random.Generator], list[list[Recording]]]


def _turn(how: Any) -> _Change:
    def make(
        recordings: Sequence[Recording], wanted: ModelInput, rng: np.random.Generator
    ) -> list[list[Recording]]:
        return [turned_phones(recordings, how, wanted, rng) for _ in range(_TURNS)]

    named = {"heading": "phone turned about the vertical", "any": "phone turned any way"}
    return _Change("orientation", named[how], make)


def _rate(rate_hz: float, *, filtered: bool = True) -> _Change:
    name = f"{rate_hz:g} Hz" if filtered else f"{rate_hz:g} Hz, aliased: no filter before it"
    return _Change(
        "rate", name, lambda rs, _, __: [[at_rate(r, rate_hz, filtered=filtered) for r in rs]]
    )


def _error(name: str, errors: Errors) -> _Change:
    return _Change("sensor", name, lambda rs, _, rng: [with_errors(rs, errors, rng)])


_CHANGES = (
    _Change("", "as recorded", lambda rs, _, __: [list(rs)]),
    _turn("heading"),
    _turn("any"),
    *(_rate(rate_hz) for rate_hz in _RATES_HZ),
    _rate(25, filtered=False),
    _Change("sensor", "no gyroscope", lambda rs, _, __: [[without_gyro(r) for r in rs]]),
    _error("gain ±5 %", Errors(gain=0.05)),
    _error("gain ±10 %", Errors(gain=0.10)),
    _error("accelerometer ±0.5 m/s²", Errors(accel_bias_m_s2=0.5)),
    _error("gyroscope ±0.1 rad/s", Errors(gyro_bias_rad_s=0.1)),
)


def stress(
    classifier: TFLiteClassifier,
    recordings: Sequence[Recording],
    others: Mapping[str, Sequence[GridRecording]],
    on_step: OnStep = lambda *_: None,
) -> dict[str, Any]:
    """Return the rows for `recordings`, for `others` (by what they are), and for no class.

    `others` are on the grid of the model already, as conditioning the edge's way put them there.

    A row that the edge refuses says why in `refused` instead of having scores.
    """
    card = classifier.card
    rows = []
    steps = len(_CHANGES) + len(others) + 2
    for number, change in enumerate(_CHANGES):
        on_step(change.name, number / steps)
        rng = np.random.default_rng(0)
        rows.append(
            {
                "group": change.group,
                "change": change.name,
                **_scored(classifier, change.make(recordings, card.input, rng)),
            }
        )
    for number, (name, of_others) in enumerate(others.items(), len(_CHANGES)):
        on_step(name, number / steps)
        rows.append({"group": "data set", "change": name, **_elsewhere(classifier, of_others)})
    on_step("motions of no class", 1 - 1 / steps)
    no_class = _no_class(classifier, recordings, others)
    on_step("done", 1.0)
    return {
        "kind": "stress",
        "model": card.identity,
        "runtime": runtime_name(),
        "rows": rows,
        "no_class": no_class,
    }


def _scored(
    classifier: TFLiteClassifier, versions: Sequence[Sequence[Recording]]
) -> dict[str, Any]:
    card = classifier.card
    try:
        windows = windows_of(versions, card.labels, card.input)
    except UnusableInput as refusal:
        return {"refused": str(refusal)}
    if not len(windows):
        return {"refused": "the edge cuts no window from it"}
    found = score(windows, classifier.classify(windows.values), card.labels)
    return {name: found[name] for name in _KEPT}


def _elsewhere(classifier: TFLiteClassifier, recordings: Sequence[GridRecording]) -> dict[str, Any]:
    """Return the scores on another data set, the postures as one label."""
    card = classifier.card
    labels = merged(card.labels)
    windows = labelled_windows(recordings, labels, card.input)
    if not len(windows):
        return {"refused": "no window of it carries a label of the model"}
    probs = _merged_probs(classifier.classify(windows.values), card.labels, labels)
    found = score(windows, probs, labels)
    recall = {label: row["recall"] for label, row in found["labels"].items() if row["windows"]}
    return {name: found[name] for name in _KEPT} | {"recall": recall}


def _merged_probs(
    probs: NDArray[np.float64], labels: Sequence[str], merged_labels: Sequence[str]
) -> NDArray[np.float64]:
    """Return the probabilities with the columns of the postures added up."""
    index = indexed(merged_labels)
    result = np.zeros((len(probs), len(merged_labels)))
    for column, label in enumerate(labels):
        result[:, index[label]] += probs[:, column]
    return result


def _no_class(
    classifier: TFLiteClassifier,
    recordings: Sequence[Recording],
    others: Mapping[str, Sequence[GridRecording]],
) -> list[dict[str, Any]]:
    """Return for each motion of no class how sure the model is that it is something."""
    card = classifier.card
    known = labelled_windows(recordings, card.labels, card.input)
    sure_of_known = classifier.classify(known.values).max(axis=1)
    rows = [{"motion": "its own activities, to compare", **_confident(sure_of_known, card)}]
    sources: dict[str, Sequence[Recording | GridRecording]] = {"its own data": recordings}
    for name, some in (sources | dict(others)).items():
        labels = sorted({s.label for r in some for s in r.segments if "_to_" in s.label})
        labels = [label for label in labels if label not in card.labels]
        if not labels:
            continue
        windows = labelled_windows(some, labels, card.input)
        if len(windows):
            probs = classifier.classify(windows.values)
            rows.append(
                {"motion": f"changes of posture, {name}", **_doubted(probs, sure_of_known, card)}
            )
    rng = np.random.default_rng(0)
    for motion in NO_CLASS:
        whole = [made_up(motion, rng) for _ in range(_MADE_UP)]
        probs = np.concatenate([_of_made_up(classifier, recording) for recording in whole])
        row = {"motion": f"{motion}, simulated", **_doubted(probs, sure_of_known, card)}
        rows.append(row | {"shown_as": _shown_as(classifier, whole)})
    return rows


def _of_made_up(classifier: TFLiteClassifier, recording: Recording) -> NDArray[np.float64]:
    """Return the probabilities of every window; none of a recording that the edge refuses."""
    card = classifier.card
    labelled = replace(recording, segments=(Segment(0, MADE_UP_S * NS_PER_S, card.labels[0]),))
    try:
        windows = labelled_windows([labelled], card.labels[:1], card.input)
    except UnusableInput:
        return np.empty((0, len(card.labels)))
    return classifier.classify(windows.values)


def _confident(sure: NDArray[np.float64], card: ModelCard) -> dict[str, Any]:
    levels = (DecisionSettings().over(card).unknown_below, *_SURE)
    return {
        "windows": len(sure),
        "confident": {f"{level:g}": round(float((sure >= level).mean()), 4) for level in levels},
    }


def _doubted(
    probs: NDArray[np.float64], sure_of_known: NDArray[np.float64], card: ModelCard
) -> dict[str, Any]:
    if not len(probs):
        return {"windows": 0, "confident": {}}
    sure = probs.max(axis=1)
    said = Counter(card.labels[i] for i in probs.argmax(axis=1).tolist())
    return {
        **_confident(sure, card),
        "auroc": round(_auroc(sure_of_known, sure), 3),
        "said": {label: round(n / len(probs), 3) for label, n in said.most_common(3)},
    }


def _auroc(known: NDArray[np.float64], strange: NDArray[np.float64]) -> float:
    """Return how often a known window is surer than a strange one, ties half (Mann-Whitney)."""
    ordered = np.sort(strange)
    below = np.searchsorted(ordered, known, "left")
    not_above = np.searchsorted(ordered, known, "right")
    return float((below + not_above).mean() / (2 * len(strange)))


def _shown_as(classifier: TFLiteClassifier, recordings: Sequence[Recording]) -> dict[str, float]:
    """Return what the whole pipeline, cold, shows of the time of each: shares of all it shows."""
    time_ns: Counter[str] = Counter()
    for recording in recordings:
        try:
            seen = shown(joined([recording]), classifier, DecisionSettings())
        except UnusableInput:
            time_ns["refused"] += MADE_UP_S * NS_PER_S
            continue
        for bout in seen:
            time_ns[bout.activity] += bout.t_end - bout.t_start
    total = max(sum(time_ns.values()), 1)
    order = sorted(time_ns, key=lambda activity: (activity != UNKNOWN, -time_ns[activity]))
    return {activity: round(time_ns[activity] / total, 3) for activity in order}
