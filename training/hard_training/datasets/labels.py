"""The one vocabulary that every data set's own words are mapped to.

Pure.  `canonical` is what loaders use; `UNIONS` says which labels count as one where figures of
several data sets are compared.  To teach it a data set's words, add them to `_WORDS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hard.card import STILL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["POSTURES", "TRANSITIONS", "UNIONS", "VOCABULARY", "canonical", "indexed", "is_known"]

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

_WORDS: Mapping[str, tuple[str, ...]] = {
    "walking": ("walk", "wlk", "turning"),  # SP-SW-HAR's turn is on foot, between two walks
    "upstairs": ("ups", "walking upstairs", "stairs up", "climbing up", "ascending stairs"),
    "downstairs": (
        "dws",
        "walking downstairs",
        "stairs down",
        "climbing down",
        "descending stairs",
    ),
    "running": ("run", "jog", "jogging"),
    "sitting": ("sit", "seated"),
    "standing": ("stand", "std"),
    "laying": ("lay", "lying", "lying down"),
    "stand_to_sit": ("sitting down",),
    "sit_to_stand": ("standing up",),
    "sit_to_lie": (),
    "lie_to_sit": (),
    "stand_to_lie": (),
    "lie_to_stand": (),
    "cycling": ("bike", "biking"),
    "jumping": ("jump",),
    "stairs": (),  # up or down, it isn't said which
    "nordic_walking": (),
    "rope_jumping": (),
    "driving": ("car driving",),
    "watching_tv": (),
    "computer_work": (),
    "vacuuming": ("vacuum cleaning",),
    "ironing": (),
    "folding": ("folding laundry", "folding clothes"),
    "house_cleaning": (),
    "soccer": ("playing soccer", "kicking"),
    "typing": (),
    "brushing_teeth": (),
    "eating": (),
    "drinking": (),
    "catching": (),
    "dribbling": (),
    "writing": (),
    "clapping": (),
}
VOCABULARY = tuple(_WORDS)
_UNLABELLED = {"", "null", "none", "other"}


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


_LABEL_OF = {_plain(word): label for label, words in _WORDS.items() for word in (label, *words)}


def canonical(text: str) -> str | None:
    """Return the label that a data set's or a wearer's own word means, None for no label.

    >>> canonical("WALKING_UPSTAIRS"), canonical("Jogging"), canonical("null")
    ('upstairs', 'running', None)
    """
    return _LABEL_OF.get(_plain(text))


def is_known(text: str) -> bool:
    """Tell whether a word is one of ours, or one that says there is no label."""
    return _plain(text) in _UNLABELLED or canonical(text) is not None


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
