"""Model cards side by side: what they tell apart, what they need, what they were measured to do.

Latency is measured now, on this machine; the other figures are the cards' own.  Called by the
command line; never loads TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hard.card import ModelCard
from hard.classifier import TFLiteClassifier
from hard_training.edge_check import ms_per_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["compare"]

_WINDOWS = 50


def compare(names_or_cards: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return one object a card; figures that a card lacks are None.

    `test` and `validation` are {"mean_accuracy", "interval_95", "macro_f1", "people"}, of which
    "people" is how many.  Raises `ModelRefused`.
    """
    return [_row(name_or_card) for name_or_card in names_or_cards]


def _row(name_or_card: str | Path) -> dict[str, Any]:
    classifier = TFLiteClassifier.load(name_or_card)
    card, (_, path) = classifier.card, ModelCard.load(name_or_card)
    golden = np.asarray([card.golden.window] * _WINDOWS, np.float32)
    metrics = card.provenance.metrics
    return {
        "model": card.identity,
        "placement": card.placement,
        "labels": list(card.labels),
        "channels": len(card.input.channels),
        "frame": card.input.frame,
        "bytes": path.stat().st_size,
        "parameters": card.parameters,
        "ms_per_window": round(ms_per_window(classifier, golden), 4),
        "validation": _figures(metrics.get("validation")),
        "test": _figures(metrics.get("test")),
    }


def _figures(scores: dict[str, Any] | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    kept = {key: scores.get(key) for key in ("mean_accuracy", "interval_95", "macro_f1")}
    return kept | {"people": len(scores["people"])}
