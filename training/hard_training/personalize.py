"""A model adapted to one wearer from a few labelled minutes, or no model.

    recordings -> windows -> adapt on the earlier of each label, check on the later -> gates -> card

The last, dense layer alone is fitted anew: on what the layers before it make of the wearer's
windows, and held near its old weights, so that labels that the wearer did not record keep theirs.
How near is chosen on the last third of what is adapted on.  What is held out decides one thing
only: whether the new model is better; if not, nothing is written.  Called by the command line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import tf_keras as keras
from scipy.optimize import minimize  # type: ignore[import-untyped] # it has no stubs

from hard.api import UnusableInput
from hard.card import ModelCard, ModelRefused
from hard_file import open_recording
from hard_training.datasets.recordings import recorded
from hard_training.evaluate import score
from hard_training.export import install
from hard_training.produce import export
from hard_training.trained import Trained
from hard_training.usual import widened
from hard_training.windows import LabelledWindows, labelled_windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard_training.export import Weights

__all__ = ["Personalized", "held_out", "personalize"]

_STRIDE_SAMPLES = 16
_HELD_OUT = 0.4
_NEARNESS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_LEAST_GAIN = 0.02
"""What counts as better: less than this is a few windows' luck."""
_LEAST_WINDOWS = 10
"""Of each label in each part: with fewer its share right means nothing."""


@dataclass(frozen=True, slots=True)
class Personalized:
    """What came of it: `card` is where the new one lies, None where it is no better.

    `before` and `after` are `score`s on the held-out windows; `better` is judged by `balanced`, the
    mean over the recorded labels of the share of windows right.
    """

    card: Path | None
    labels: tuple[str, ...]
    adapted_minutes: float
    held_out_minutes: float
    before: dict[str, Any]
    after: dict[str, Any]
    balanced: tuple[float, float]


def personalize(
    name_or_card: str | Path,
    recordings: Sequence[Path],
    out: Path,
    *,
    weights: Path | None = None,
    name: str | None = None,
    command: str = "",
) -> Personalized:
    """Adapt a model to the wearer of labelled recordings and write NAME.* into `out` if better.

    `weights` is the NAME.weights.npz of the model's training, by default the one beside its card.
    Raises `ModelRefused`, `UnusableInput` and, having written nothing, `GateFailed`.
    """
    card, model_path = ModelCard.load(name_or_card)
    trained = _weights_of(card, weights or model_path.with_suffix(".weights.npz"))
    windows = _windows(recordings, card)
    kept, later = held_out(windows, card, _HELD_OUT)
    model = trained.model(None)
    adapted = replace(trained, weights=_adapted(model, kept))
    before, after = (
        _probabilities(network.model(None), later.values) for network in (trained, adapted)
    )
    balanced = (_balanced(before, later), _balanced(after, later))
    outcome = Personalized(
        None,
        tuple(card.labels[i] for i in np.unique(windows.label)),
        round(_minutes(kept, card), 2),
        round(_minutes(later, card), 2),
        score(later, before, card.labels),
        score(later, after, card.labels),
        (round(balanced[0], 4), round(balanced[1], 4)),
    )
    if balanced[1] - balanced[0] < _LEAST_GAIN:
        return outcome
    draft = _draft(card, name or f"{card.name}-personal", outcome, command)
    usual = card.usual and widened(card.usual, kept.values)
    path = _installed(draft.model_copy(update={"usual": usual}), adapted, later, out)
    return replace(outcome, card=path)


def _weights_of(card: ModelCard, path: Path) -> Trained:
    trained = Trained.load(path)
    if trained.sha256 != card.sha256:
        raise ModelRefused(
            f"{path}: the weights of another model: its .tflite was {trained.sha256[:12]}…, the "
            f"card says {card.sha256[:12]}…"
        )
    return trained


def _windows(paths: Sequence[Path], card: ModelCard) -> LabelledWindows:
    """Return the labelled windows of one wearer's files, in the order given."""
    defects: Counter[str] = Counter()
    found = [
        recorded(path.name, 1, open_recording(path).messages(), defects, order=number)
        for number, path in enumerate(paths)
    ]
    finely = card.input.model_copy(update={"stride_samples": _STRIDE_SAMPLES})
    windows = labelled_windows(found, card.labels, finely)
    if len(np.unique(windows.label)) < 2:
        raise UnusableInput(
            f"{', '.join(str(path) for path in paths)}: fewer than two of the model's labels "
            f"({', '.join(card.labels)}) in them; label while recording, or in NAME.labels.csv"
        )
    return windows


def held_out(
    windows: LabelledWindows, card: ModelCard, share: float
) -> tuple[LabelledWindows, LabelledWindows]:
    """Split windows by time: of each label the last `share` is held out.

    Windows that overlap the held-out ones are in neither part.  Raises `UnusableInput` where a
    label is left with too few.
    """
    overlap = -(-card.input.window_samples // _STRIDE_SAMPLES)
    earlier, later = np.zeros(len(windows), bool), np.zeros(len(windows), bool)
    for code in np.unique(windows.label):
        of_label = np.flatnonzero(windows.label == code)
        begin = round(len(of_label) * (1 - share))
        later[of_label[begin:]] = True
        earlier[of_label[: max(begin - overlap, 0)]] = True
        if min(earlier[of_label].sum(), later[of_label].sum()) < _LEAST_WINDOWS:
            raise UnusableInput(
                f"{card.labels[code]}: {_minutes(windows.part(windows.label == code), card):.1f} "
                "min are too few to adapt and to check; record half a minute or more"
            )
    # Windows of another label may lie within those held out, where activities alternate.
    for at in np.flatnonzero(later):
        near = slice(max(at - overlap + 1, 0), at + overlap)
        earlier[near] &= windows.recording[near] != windows.recording[at]
    return windows.part(earlier), windows.part(later)


def _minutes(windows: LabelledWindows, card: ModelCard) -> float:
    return len(windows) * _STRIDE_SAMPLES / card.input.sampling_rate_hz / 60


def _probabilities(model: Any, windows: NDArray[np.float32]) -> NDArray[np.float64]:
    probs: NDArray[np.float64] = model.predict(windows, batch_size=1024, verbose=0)
    return probs.astype(np.float64)


def _balanced(probs: NDArray[np.float64], windows: LabelledWindows) -> float:
    """Return the mean over labels of the share of its windows right."""
    right = probs.argmax(axis=1) == windows.label
    return float(np.mean([right[windows.label == i].mean() for i in np.unique(windows.label)]))


def _adapted(model: Any, windows: LabelledWindows) -> list[NDArray[np.float32]]:
    """Return the model's weights with the dense layer fitted to the windows."""
    *others, kernel, bias = model.get_weights()
    before_last = keras.Model(model.input, model.layers[-1].input)
    inputs = before_last.predict(windows.values, batch_size=1024, verbose=0).astype(np.float64)
    old = np.vstack([kernel, bias]).astype(np.float64)
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    first = np.zeros(len(windows), bool)
    for code in np.unique(windows.label):
        of_label = np.flatnonzero(windows.label == code)
        first[of_label[: len(of_label) * 2 // 3]] = True
    last = windows.part(~first)

    def right(nearness: float) -> float:
        head = _fitted_head(inputs[first], windows.label[first], old, nearness)
        return _balanced(inputs[~first] @ head, last)

    # The nearest of those that do best.
    nearness = max(_NEARNESS, key=lambda nearness: (round(right(nearness), 4), nearness))
    head = _fitted_head(inputs, windows.label, old, nearness).astype(np.float32)
    return [*others, head[:-1], head[-1]]


def _fitted_head(
    inputs: NDArray[np.float64],
    label: NDArray[np.int64],
    old: NDArray[np.float64],
    nearness: float,
) -> NDArray[np.float64]:
    """Return weights [features + 1, labels] of least cross-entropy, held near the old ones.

    Each label counts the same; `nearness` weighs half the sum of squared differences.
    """
    truth = np.eye(old.shape[1])[label]
    counts = np.maximum(truth.sum(axis=0), 1)
    weight = (1 / counts)[label]
    weight /= weight.sum()

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        head = flat.reshape(old.shape)
        logits = inputs @ head
        logits -= logits.max(axis=1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        away = head - old
        value = -float(weight @ (truth * log_probs).sum(axis=1)) + nearness / 2 * float(
            (away**2).sum()
        )
        slope = inputs.T @ ((np.exp(log_probs) - truth) * weight[:, None]) + nearness * away
        return value, slope.ravel()

    found = minimize(loss, old.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    best: NDArray[np.float64] = found.x.reshape(old.shape)
    return best


def _draft(card: ModelCard, name: str, outcome: Personalized, command: str) -> ModelCard:
    """Return the new card as far as it is known before the model is converted."""
    metrics = {
        "export": {"weights": card.provenance.metrics.get("export", {}).get("weights", "float")},
        "personal": {
            "adapted_minutes": outcome.adapted_minutes,
            "held_out_minutes": outcome.held_out_minutes,
            "labels": list(outcome.labels),
            "before": outcome.before,
            "after": outcome.after,
        },
    }
    provenance = card.provenance.model_copy(
        update={
            "data_sets": (*card.provenance.data_sets, "recordings of one wearer"),
            "split": f"{card.provenance.split}; the wearer's later minutes were held out",
            "metrics": metrics,
            "command": command,
            "created": f"{datetime.now(UTC):%Y-%m-%d}",
        }
    )
    return card.model_copy(
        update={
            "name": name,
            "description": f"{card.description}; adapted from {card.identity} to one wearer",
            "provenance": provenance,
        }
    )


def _installed(draft: ModelCard, adapted: Trained, later: LabelledWindows, out: Path) -> Path:
    kind: Weights = draft.provenance.metrics["export"]["weights"]
    exported = export(draft, adapted, later, kind, later.values)
    metrics = draft.provenance.metrics | {"export": exported.figures}
    provenance = draft.provenance.model_copy(update={"metrics": metrics})
    update = {"golden": exported.golden, "provenance": provenance}
    path, _ = install(out, draft.model_copy(update=update), exported.model)
    digest = sha256(exported.model).hexdigest()
    replace(adapted, sha256=digest).save(path.with_suffix(".weights.npz"))
    return path
