"""Published figures that ours stand beside: people held out, what their authors measured.

Data only.  `protocol` says who was tested; "groups" are folds of people.  Left out on purpose: the
bidirectional LSTM whose best epoch was chosen on the test set, and figures of folds that mix one
person's windows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["anchors_for"]

_ARENA = "WHAR Arena (teco-kit/whar-arena, 2026)"


@dataclass(frozen=True, slots=True)
class _Anchor:
    data_set: str
    labels: int
    who: str
    protocol: str
    measure: str
    value: float
    source: str


_ANCHORS = (
    _Anchor("hapt", 6, "TinyHAR, on UCI HAR", "groups", "macro F1", 0.961, _ARENA),
    _Anchor("hapt", 6, "TinierHAR (34 kB), on UCI HAR", "groups", "macro F1", 0.952, _ARENA),
    _Anchor("hapt", 6, "DeepConvLSTM, on UCI HAR", "groups", "macro F1", 0.930, _ARENA),
    _Anchor("hapt", 6, "Light-PTNet", "official", "accuracy", 0.980, "its authors, unreproduced"),
    _Anchor("hapt", 6, "DeepConvLSTM", "official", "accuracy", 0.957, "its authors"),
    _Anchor("hapt", 6, "plain LSTM", "official", "accuracy", 0.9165, "its authors"),
    _Anchor("hapt", 12, "CNN", "groups", "macro F1", 0.848, _ARENA),
    _Anchor("hapt", 12, "TinierHAR", "groups", "macro F1", 0.814, _ARENA),
    _Anchor("hapt", 12, "LSTM family", "groups", "macro F1", 0.773, _ARENA),
    _Anchor("motionsense", 6, "DynamicWHAR", "groups", "macro F1", 0.935, _ARENA),
    _Anchor("motionsense", 6, "random forest", "groups", "macro F1", 0.915, _ARENA),
    _Anchor("motionsense", 6, "TinierHAR", "groups", "macro F1", 0.909, _ARENA),
    _Anchor("motionsense", 6, "LSTM family", "groups", "macro F1", 0.905, _ARENA),
    _Anchor("wisdm-v1.1", 6, "DANA", "groups", "macro F1", 0.855, _ARENA),
    _Anchor("wisdm-v1.1", 6, "TinyHAR", "groups", "macro F1", 0.850, _ARENA),
    _Anchor("wisdm-v1.1", 6, "LSTM family", "groups", "macro F1", 0.842, _ARENA),
)


def anchors_for(data_set: str, labels: int) -> list[dict[str, Any]]:
    """Return the figures for a data set by its name with so many labels; UCI HAR is HAPT."""
    name = "hapt" if data_set == "uci-har" else data_set
    return [asdict(a) for a in _ANCHORS if (a.data_set, a.labels) == (name, labels)]
