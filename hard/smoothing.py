"""What a stream's windows say together: single likelihoods to posteriors, over time.

Pure, one smoother per stream, called by the decision layer alone.  States are numbers; likelihoods
need not sum to 1, posteriors do.  Windows come as many at a time as there are; what comes out is
the same to the last bit however they are cut: sums run state by state, products window by window.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hard.api import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LEAST", "Averaged", "FixedLag", "Smoother"]

LEAST = 1e-4
"""A window never rules a state out: models err with confidence."""
_RESCALED_AFTER = 16  # windows that rule nearly everything out: 1e-64, and float64 reaches 1e-308


class Smoother(Protocol):
    """Turns the likelihoods of windows that follow each other into posteriors, soon or later."""

    def feed(
        self, likelihood: NDArray[np.float64], t_ns: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Take the likelihoods float64[w, s] of windows at the times `t_ns`.

        Return their posteriors by what came until each, float64[w, s], and the final ones of the
        oldest windows for which that was early so far, float64[v, s].
        """
        ...

    def flush(self) -> NDArray[np.float64]:
        """Return the posteriors still owed, oldest first, and forget everything."""
        ...


class FixedLag:
    """Hidden Markov model: the forward filter, looked back at from `lag` windows later.

    `transitions` float[s, s] are the probabilities from one stride to the next, rows summing to 1.
    Forward-backward algorithm (Rabiner 1989, section III) over the last `lag` windows.  It takes
    windows for independent; where they overlap, each but the first counts for `weight` of one.
    """

    def __init__(
        self, transitions: Sequence[Sequence[float]], lag: int, weight: float = 1.0
    ) -> None:
        self._lag, self._weight = lag, weight
        self._transitions = np.array(transitions, np.float64)
        self._forget()

    def _forget(self) -> None:
        self._before: NDArray[np.float64] | None = None  # the last posterior, not to scale
        self._unscaled = 0  # so many windows ago it was
        self._filtered = self._seen = np.empty((0, len(self._transitions)))  # of windows owed

    def feed(
        self, likelihood: NDArray[np.float64], t_ns: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step forward; times do not matter, windows stand a stride apart."""
        del t_ns
        seen = np.maximum(likelihood, LEAST)
        behind = 1 if self._before is None else 0
        seen[behind:] **= self._weight
        now = self._forward(seen)
        filtered, seen = np.concatenate((self._filtered, now)), np.concatenate((self._seen, seen))
        final = max(len(seen) - self._lag, 0)
        self._filtered, self._seen = filtered[final:], seen[final:]
        return now, self._look_back(filtered[:final], seen, self._lag)

    def flush(self) -> NDArray[np.float64]:
        """Look back from ever nearer."""
        filtered, seen = self._filtered, self._seen
        self._forget()
        last = len(seen) - 1
        found = [self._look_back(filtered[i : i + 1], seen[i:], last - i) for i in range(last + 1)]
        return np.concatenate([filtered[:0], *found])

    def _forward(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each window's posterior by what came until then, float64[w, s]."""
        filtered = np.empty_like(seen)
        before, transitions = self._before, self._transitions
        for now, likelihood in zip(filtered, seen, strict=True):
            if before is None:
                now[:] = likelihood
            else:
                np.multiply(np.dot(before, transitions), likelihood, out=now)
            self._unscaled += 1
            if self._unscaled == _RESCALED_AFTER:
                self._unscaled = 0
                now[:] = now / sum(now.tolist())
            before = now
        if len(filtered):
            self._before = filtered[-1].copy()
        return _normalised(filtered)

    def _look_back(
        self, filtered: NDArray[np.float64], seen: NDArray[np.float64], lag: int
    ) -> NDArray[np.float64]:
        """Return the posteriors of windows by `lag` more; `seen` begins with the first's."""
        if not lag or not len(filtered):
            return filtered
        n = len(filtered)
        ahead = self._step_back(seen[lag : lag + n])
        for behind in range(lag - 1, 0, -1):
            ahead = self._step_back(seen[behind : behind + n] * _normalised(ahead))
        return _normalised(filtered * ahead)

    def _step_back(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how likely what was seen from a window on is, by the state before it."""
        # A product of its own for each window: that of all at once would depend on how many.
        ahead: NDArray[np.float64] = np.matmul(self._transitions, seen[:, :, None])[:, :, 0]
        return ahead


class Averaged:
    """Likelihoods averaged exponentially over time; `constant_s` 0 takes each window as it is."""

    def __init__(self, constant_s: float) -> None:
        self._constant_s = constant_s
        self._latest: NDArray[np.float64] | None = None
        self._latest_ns = 0

    def feed(
        self, likelihood: NDArray[np.float64], t_ns: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give each window its share, the greater the longer ago the last one was; owe nothing."""
        now = _normalised(likelihood)
        if self._constant_s:
            for i, t in enumerate(t_ns):
                if self._latest is not None:
                    after_s = (t - self._latest_ns) / NS_PER_S
                    now[i] += math.exp(-after_s / self._constant_s) * (self._latest - now[i])
                self._latest, self._latest_ns = now[i], t
        return now, now

    def flush(self) -> NDArray[np.float64]:
        """Owe nothing."""
        self._latest = None
        return np.empty((0, 0))


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make each row sum to 1."""
    # accumulate, unlike sum, always adds in the order of the states
    normalised: NDArray[np.float64] = weights / np.add.accumulate(weights, axis=1)[:, -1:]
    return normalised
