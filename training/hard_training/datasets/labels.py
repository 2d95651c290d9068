"""Data sets' own words as labels of the one vocabulary, which is `hard.vocabulary`.

Pure.  `canonical` is what loaders use; `UNIONS` says which labels count as one where figures of
several data sets are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hard.card import STILL
from hard.vocabulary import VOCABULARY, label_meant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["POSTURES", "TRANSITIONS", "UNIONS", "canonical", "indexed", "is_known"]

POSTURES = ("sitting", "standing", "laying")
TRANSITIONS = (
    "stand_to_sit",
    "sit_to_stand",
    "sit_to_lie",
    "lie_to_sit",
    "stand_to_lie",
    "lie_to_stand",
)
UNIONS: Mapping[str, tuple[str, ...]] = {STILL: POSTURES}
"""Labels that stand for several: `still` is resting in whatever posture."""


def canonical(text: str) -> str | None:
    """Return the label that a data set's or a wearer's own word means, None for no label.

    >>> canonical("WALKING_UPSTAIRS"), canonical("Jogging"), canonical("null")
    ('upstairs', 'running', None)
    """
    label = label_meant(text)
    return label if label in VOCABULARY else None


def is_known(text: str) -> bool:
    """Tell whether a word is one of ours, or one that says there is no label."""
    return label_meant(text) is None or canonical(text) is not None


def indexed(labels: Sequence[str]) -> dict[str, int]:
    """Return where each label's windows belong among `labels`.

    A union among them takes in its members, except those that are listed themselves.

    >>> indexed(("walking", "still", "laying"))
    {'walking': 0, 'still': 1, 'laying': 2, 'sitting': 1, 'standing': 1}
    """
    index = {label: i for i, label in enumerate(labels)}
    for label, i in list(index.items()):
        for member in UNIONS.get(label, ()):
            index.setdefault(member, i)
    return index
