"""What the words of a wearer, or of a data set, mean as labels.

Pure.  Called where labels are read, here and in training; what no model knows stays as it is.  To
teach it a data set's words, add them to `_WORDS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["VOCABULARY", "label_meant"]

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
    "off_body": ("not worn", "on table"),
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
"""The labels that are ours."""
_UNLABELLED = {"", "null", "none", "other", "unlabelled"}


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


_LABEL_OF = {_plain(word): label for label, words in _WORDS.items() for word in (label, *words)}


def label_meant(text: str, labels: Collection[str] = ()) -> str | None:
    """Return the label that a word means: one of `labels`, else one of ours, else the word itself.

    None where the word says that there is no label.

    >>> label_meant("WALKING_UPSTAIRS"), label_meant("Nordic Walking", ["nordic_walking"])
    ('upstairs', 'nordic_walking')
    >>> label_meant("juggling"), label_meant("null")
    ('juggling', None)
    """
    plain = _plain(text)
    if plain in _UNLABELLED:
        return None
    own = {_plain(label): label for label in labels}
    return own.get(plain) or _LABEL_OF.get(plain) or text
