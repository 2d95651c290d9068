"""Who trains, who chooses and who is tested: never one person in two of the three parts.

Pure and deterministic; called by cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fold", "balanced_groups", "folds_by_person"]

_VALIDATION_GROUPS = 6
"""About a sixth of the people who are not tested choose epoch and temperature."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The people of one fold, each part in ascending order; no part is empty."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def balanced_groups(windows: Mapping[int, int], k: int) -> list[tuple[int, ...]]:
    """Deal people into `k` groups of about as many windows each.

    `windows` says how many each person has.  The one with most goes first, always into the group
    with least so far, so that two groups differ by at most one person's windows.
    """
    groups: list[list[int]] = [[] for _ in range(k)]
    loads = [0] * k
    for person in sorted(windows, key=lambda person: (-windows[person], person)):
        least = min(range(k), key=lambda i: (loads[i], len(groups[i])))
        groups[least].append(person)
        loads[least] += windows[person]
    return [tuple(sorted(group)) for group in groups]


def folds_by_person(windows: Mapping[int, int], k: int | None) -> list[Fold]:
    """Return `k` folds that test each person once; None: leave one person out.

    Raises ValueError for fewer than 2 folds, and where a fold would leave less than one person to
    train and one to choose.
    """
    people, k = sorted(windows), len(windows) if k is None else k
    tested = balanced_groups(windows, k) if 2 <= k <= len(people) else []
    if not tested or max(map(len, tested)) > len(people) - 2:
        raise ValueError(
            f"{k} folds of {len(people)} people can't be made: it takes 2 folds or more, no more "
            "than people, and two people outside each"
        )
    folds = []
    for number, test in enumerate(tested):
        rest = {person: windows[person] for person in people if person not in test}
        groups = balanced_groups(rest, min(_VALIDATION_GROUPS, len(rest)))
        validation = groups[number % len(groups)]  # not always the same people
        train = tuple(person for person in rest if person not in validation)
        folds.append(Fold(train, validation, test))
    return folds
