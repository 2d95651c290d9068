"""One window's evidence: how likely it is under each state, and which gate spoke.

Pure, one per stream, called by the decision layer alone.  The states are the model's labels,
`still` where the model knows postures, and `unknown`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from hard.api import NS_PER_S
from hard.card import STILL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hard.card import ModelCard

__all__ = ["UNKNOWN", "Evidence", "Gate", "Weighed", "transition_matrix"]

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


class Weighed(NamedTuple):
    """The likelihood of each state, unknown last, and the gate that spoke, if any."""

    likelihood: list[float]
    gate: Gate | None


class Evidence:
    """Weighs the windows of one stream, in order.

    A body is never as still as a table: while the spread of acceleration has not varied for 13 s,
    and at first until it has, a window that speaks for a posture speaks for `still`.  What stays
    within a half for `off_body_after_s` lies somewhere, at the noise floor of its own sensor.
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
        self._spreads: deque[float] = deque(maxlen=math.ceil(_FLAT_S / stride_s))
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._spreads.clear()
        self._flat = True  # until it moves
        self._rest_since: int | None = None
        self._rest_low = self._rest_high = 0.0

    def weigh(
        self,
        probs: Sequence[float],
        distance: float,
        turn: float,
        spread: float | None,
    ) -> Weighed:
        """Weigh one window: the model's probabilities of labels (and still), and its novelty."""
        likelihood = [*probs, *(0.0,) * (self._n - len(probs)), _UNSAID]
        gate: Gate | None = None
        if self._still is not None and spread is not None and self._is_flat(spread):
            resting = sum(likelihood[i] for i in self._postures)
            if resting > 0.0:
                gate = "flat"
                likelihood[self._still] += resting
                for i in self._postures:
                    likelihood[i] = 0.0
        if distance > self._novelty:
            gate = "unfamiliar"
        elif turn > self._novelty:
            gate = "turned"
        elif max(likelihood) < self._unknown_below:
            gate = "unsure"
        if gate is not None and gate != "flat":
            if gate != "turned":  # the further off, the less the model's word counts
                doubt = _DOUBTED if gate == "unsure" else (self._novelty / distance) ** 2
                likelihood = [p * doubt for p in likelihood]
            likelihood[-1] = _SAID
        return Weighed(likelihood, gate)

    def _is_flat(self, spread: float) -> bool:
        """Tell whether nothing moves it; what once lay flat has to move visibly."""
        self._spreads.append(spread)
        if spread > _QUIET_M_S2:
            self._flat = False
            return False
        high, low = max(self._spreads), min(self._spreads)
        settled = len(self._spreads) == self._spreads.maxlen
        ratio = _MOVED_RATIO if self._flat else _FLAT_RATIO
        self._flat = high <= _QUIET_M_S2 and high <= ratio * low and (self._flat or settled)
        return self._flat

    def rests_since(self, begin: int, end: int, spread: float | None) -> int | None:
        """Return since when the device has lain at its noise floor, None unless for long enough.

        The window speaks for [begin, end), ns.
        """
        if spread is None:
            return None
        low, high = min(self._rest_low, spread), max(self._rest_high, spread)
        if self._rest_since is None or spread > _QUIET_M_S2 or high > _RESTING_RATIO * low:
            self._rest_since, low, high = begin, spread, spread
        self._rest_low, self._rest_high = low, high
        long_enough = spread <= _QUIET_M_S2 and end - self._rest_since >= self._off_body_after_ns
        return self._rest_since if long_enough else None


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
