"""The evidence of windows: how likely each is under each state, and which gate spoke.

Pure, one per stream, called by the decision layer alone.  The states are the model's labels,
`still` where the model knows postures, and `unknown`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hard.api import NS_PER_S
from hard.card import STILL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hard.card import ModelCard
    from hard.novelty import Novelty

__all__ = ["UNKNOWN", "Evidence", "Gate", "transition_matrix"]

UNKNOWN = "unknown"

Gate: TypeAlias = Literal["unsure", "unfamiliar", "turned", "flat"]
"""Why the model's word was not taken: it is sure of nothing; the signal is like none that it was
trained on; gravity turned within the window; no body is as quiet as that (`still`)."""

_TO_UNKNOWN = 0.65  # of what leaves a known state in one stride
_UNKNOWN_STAYS = 0.5
_TO_STILL = 0.1
_SAID = 0.9  # the likelihood of `unknown` where a gate speaks for it
_UNSAID = 0.01
_DOUBTED = 0.3  # what a word counts that the model itself is not sure of
_FLAT_S = 12.8
_FLAT_RATIO = 1.18
_MOVED_RATIO = 1.3  # white noise never gets there, and exceeds the one above in 3 % of cases
_RESTING_RATIO = 1.5
_QUIET_M_S2 = 0.3
"""More than any sensor's noise and less than any motion."""


class Evidence:
    """Weighs the windows of one stream, in order.

    A body is never as still as a table: while the spread of acceleration has not varied for 13 s,
    and at first, as after motion unlike any known, until it has, a window that speaks for a posture
    speaks for `still`: nobody may have it any more.  What stays within a half for
    `off_body_after_s` lies somewhere, at the noise floor of its own sensor.
    """

    def __init__(
        self, card: ModelCard, unknown_below: float, novelty: float, off_body_after_s: float
    ) -> None:
        self._n = len(card.states)
        self._postures = [card.labels.index(posture) for posture in card.postures]
        self._still = card.states.index(STILL) if STILL in card.states else None
        self._unknown_below = unknown_below
        self._novelty = novelty or math.inf
        self._off_body_after_ns = round(off_body_after_s * NS_PER_S)
        stride_s = card.input.stride_samples / card.input.sampling_rate_hz
        self._spreads = np.empty(math.ceil(_FLAT_S / stride_s) - 1)  # of the windows before
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._spreads.fill(np.nan)
        self._flat = True  # until it moves
        self._rest_since: int | None = None
        self._rest_low = self._rest_high = 0.0

    def weigh(
        self, probs: NDArray[np.float64], novelty: Novelty | None
    ) -> tuple[NDArray[np.float64], list[Gate | None]]:
        """Weigh windows: the model's probabilities float64[w, labels or states], and their novelty.

        Returns how likely each is under each state, float64[w, states + 1], unknown last, and the
        gates that spoke.
        """
        likelihood = np.zeros((len(probs), self._n + 1))
        likelihood[:, : probs.shape[1]] = probs
        likelihood[:, -1] = _UNSAID
        gates: list[Gate | None] = [None] * len(probs)
        if novelty is not None and self._still is not None:
            strange = (novelty.distance > self._novelty) & (novelty.spread > _QUIET_M_S2)
            flat = self._are_flat(novelty.spread, strange)
            self._doubt_postures(likelihood, np.flatnonzero(flat), gates)
        unsure = likelihood.max(axis=1) < self._unknown_below
        if novelty is None:
            said = unsure
            unfamiliar = turned = np.zeros(len(probs), bool)
        else:
            unfamiliar, turned = novelty.distance > self._novelty, novelty.turn > self._novelty
            said = unfamiliar | turned | unsure
        for i in np.flatnonzero(said).tolist():
            if unfamiliar[i] and novelty is not None:
                gates[i] = "unfamiliar"  # the further off, the less the model's word counts
                likelihood[i] *= (self._novelty / novelty.distance[i]) ** 2
            elif turned[i]:
                gates[i] = "turned"
            else:
                gates[i] = "unsure"
                likelihood[i] *= _DOUBTED
            likelihood[i, -1] = _SAID
        return likelihood, gates

    def _doubt_postures(
        self, likelihood: NDArray[np.float64], flat: NDArray[np.intp], gates: list[Gate | None]
    ) -> None:
        """Let windows that nothing moves speak for `still` where they speak for a posture."""
        for i in flat.tolist():
            resting = sum(likelihood[i, self._postures].tolist())
            if resting > 0.0:
                gates[i] = "flat"
                likelihood[i, self._still] += resting
                likelihood[i, self._postures] = 0.0

    def _are_flat(
        self, spreads: NDArray[np.float64], strange: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Tell which windows nothing moves; what once lay flat has to move visibly.

        What was before a `strange` window is forgotten, and that window too.
        """
        held, n = np.concatenate((self._spreads, spreads)), len(self._spreads)
        around = np.lib.stride_tricks.sliding_window_view(held, n + 1)
        if strange.any():
            last = np.maximum.accumulate(np.where(strange, np.arange(len(strange)), -n - 1))
            place = np.arange(len(strange))[:, None] + np.arange(-n, 1)
            around = np.where(place > last[:, None], around, np.nan)
            held[: last[-1] + n + 1] = np.nan
        high, low = np.fmax.reduce(around, axis=1), np.fmin.reduce(around, axis=1)
        settled = ~np.isnan(around[:, 0])
        quiet = high <= _QUIET_M_S2
        stays = (quiet & (high <= _MOVED_RATIO * low)).tolist()
        begins = (quiet & settled & (high <= _FLAT_RATIO * low)).tolist()
        flat = np.zeros(len(spreads), bool)
        for i, (stay, begin, odd) in enumerate(zip(stays, begins, strange.tolist(), strict=True)):
            flat[i] = stay if self._flat else begin
            self._flat = bool(flat[i]) or odd
        self._spreads = held[len(spreads) :]
        return flat

    def rests_since(self, begin: int, end: int, spread: float | None) -> int | None:
        """Return since when the device has lain at its noise floor, None unless for long enough.

        The window speaks for [begin, end), ns.
        """
        if spread is None:
            return None
        if spread > _QUIET_M_S2:
            self._rest_since, self._rest_low, self._rest_high = begin, spread, spread
            return None
        low, high = min(self._rest_low, spread), max(self._rest_high, spread)
        if self._rest_since is None or high > _RESTING_RATIO * low:
            self._rest_since, low, high = begin, spread, spread
        self._rest_low, self._rest_high = low, high
        return self._rest_since if end - self._rest_since >= self._off_body_after_ns else None


def transition_matrix(card: ModelCard, bout_s: float) -> list[list[float]]:
    """Return the probabilities [s, s] of passing from state to state within one stride.

    A state lasts `bout_s` on average; where it leads then is the card's to say.
    """
    stay = math.exp(-card.input.stride_samples / card.input.sampling_rate_hz / bout_s)
    labels, states = len(card.labels), len(card.states)
    rows = []
    for i in range(states):
        weights = [1.0] * states
        if i < labels and card.transitions is not None:
            weights = [*card.transitions[i], *(0.0,) * (states - labels)]
            weights[i] = 0.0
            total = sum(weights)
            weights = [weight / total if total else 1.0 for weight in weights]
        if i < labels and states > labels:
            weights[-1] = _TO_STILL
        weights[i] = 0.0
        leave = (1 - stay) * (1 - _TO_UNKNOWN) / sum(weights)
        row = [weight * leave for weight in weights]
        row[i] = stay
        rows.append([*row, (1 - stay) * _TO_UNKNOWN])
    rows.append([*((1 - _UNKNOWN_STAYS) / states,) * states, _UNKNOWN_STAYS])
    return rows
