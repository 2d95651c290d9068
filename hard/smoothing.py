"""What a stream's windows say together: single likelihoods to posteriors, over time.

Pure, one smoother per stream, called by the decision layer alone.  States are numbers; likelihoods
need not sum to 1, posteriors do.
"""

from __future__ import annotations

import math
from collections import deque
from operator import mul
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Averaged", "FixedLag", "Smoother"]

_LEAST = 1e-4
"""A window never rules a state out: models err with confidence."""


class Smoother(Protocol):
    """Turns the likelihoods of windows that follow each other into posteriors, soon or later."""

    def feed(self, likelihood: Sequence[float], after_s: float) -> list[float] | None:
        """Take one window's; return the posterior that this settles, None while it is early.

        `after_s` is the time since the window before; it does not matter for the first.
        """
        ...

    def flush(self) -> list[list[float]]:
        """Return the posteriors still owed, oldest first, and forget everything."""
        ...

    @property
    def latest(self) -> list[float]:
        """The posterior of the newest window by what came until then; empty before the first."""
        ...


class FixedLag:
    """Hidden Markov model: the forward filter, looked back at from `lag` windows later.

    `transitions` float[s, s] are the probabilities from one stride to the next, rows summing to 1.
    Forward-backward algorithm (Rabiner 1989, section III) over the last `lag` windows.
    """

    def __init__(self, transitions: Sequence[Sequence[float]], lag: int) -> None:
        self._lag = lag
        self._rows = [list(row) for row in transitions]
        self._columns = [list(column) for column in zip(*self._rows, strict=True)]
        self._owed: deque[tuple[list[float], list[float]]] = deque()  # filtered, likelihood
        self._latest: list[float] = []

    def feed(self, likelihood: Sequence[float], after_s: float) -> list[float] | None:
        """Step forward; `after_s` does not matter, windows stand a stride apart."""
        del after_s
        seen = [max(p, _LEAST) for p in likelihood]
        came = seen
        if before := self._latest:
            came = [
                sum(map(mul, before, column)) * p
                for column, p in zip(self._columns, seen, strict=True)
            ]
        self._latest = _normalised(came)
        self._owed.append((self._latest, seen))
        return self._look_back() if len(self._owed) > self._lag else None

    def flush(self) -> list[list[float]]:
        """Look back from ever nearer."""
        found = [self._look_back() for _ in range(len(self._owed))]
        self._latest = []
        return found

    @property
    def latest(self) -> list[float]:
        """The forward filter's posterior."""
        return self._latest

    def _look_back(self) -> list[float]:
        """Return the oldest window's posterior by all that followed, and let it go."""
        filtered, _ = self._owed.popleft()
        if not self._owed:
            return filtered
        ahead: list[float] = []
        for _, likelihood in reversed(self._owed):
            seen = list(map(mul, likelihood, _normalised(ahead))) if ahead else likelihood
            ahead = [sum(map(mul, row, seen)) for row in self._rows]
        return _normalised(list(map(mul, filtered, ahead)))


class Averaged:
    """Likelihoods averaged exponentially over time; `constant_s` 0 takes each window as it is."""

    def __init__(self, constant_s: float) -> None:
        self._constant_s = constant_s
        self._latest: list[float] = []

    def feed(self, likelihood: Sequence[float], after_s: float) -> list[float] | None:
        """Give the newest window its share, the greater the longer ago the last one was."""
        seen = _normalised(likelihood)
        if self._latest and self._constant_s:
            keep = math.exp(-after_s / self._constant_s)
            seen = [p + keep * (s - p) for p, s in zip(seen, self._latest, strict=True)]
        self._latest = seen
        return seen

    def flush(self) -> list[list[float]]:
        """Owe nothing."""
        self._latest = []
        return []

    @property
    def latest(self) -> list[float]:
        """The average of now."""
        return self._latest


def _normalised(weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]
