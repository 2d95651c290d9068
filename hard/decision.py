"""Predictions of one stream to stable events: smoothing, hysteresis, dwell, unknown, no data.

Pure, in data time, called by the pipeline.  Every `enter` gets its `exit`; bouts of one stream
never overlap; what was said is never taken back.

    probabilities, novelty -> likelihoods of the states (`hard.evidence`)
      -> posteriors over time (`hard.smoothing`) -> thresholds, dwell -> bouts (here)
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass
from itertools import pairwise, repeat, starmap
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hard.api import NS_PER_S, Event, Kind, Reason, Status, StreamState
from hard.card import ModelRefused
from hard.evidence import UNKNOWN, Evidence, transition_matrix
from hard.smoothing import LEAST, Averaged, FixedLag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from hard.card import ModelCard
    from hard.conditioning import Verdict
    from hard.evidence import Gate
    from hard.novelty import Novelty
    from hard.smoothing import Smoother
    from hard.windowing import WindowBatch

__all__ = [
    "OFF_BODY",
    "UNKNOWN",
    "Decision",
    "DecisionSettings",
    "Explained",
    "PredictionBatch",
]

OFF_BODY = "off_body"
_RECENT_WINDOWS = 12
"""So many are looked back at for the onset of a change."""
Probability = Annotated[float, Field(ge=0, le=1)]


class DecisionSettings(BaseModel):
    """What trades delay against false events; times in seconds of data.

    What is not set is the card's to say, else the default here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    smoothing: Literal["hmm", "ema", "none"] = Field(
        default="hmm",
        description="hidden Markov model, exponential averaging, or each window by itself",
    )
    bout_s: float = Field(
        default=20.0,
        ge=1,
        le=86400,
        description="hmm: how long an activity lasts; longer: fewer false events, later true ones",
    )
    lag_s: float = Field(
        default=0.0,
        ge=0,
        le=60,
        description="hmm: how long to wait for what follows; longer: fewer false events, all later",
    )
    smoothing_s: float = Field(
        default=1.5, ge=0, le=600, description="ema: time constant of the averaging"
    )
    enter: float = Field(
        default=0.5, ge=0, le=1, description="probability at which an activity may begin"
    )
    exit: float = Field(
        default=0.5, ge=0, le=1, description="probability at which the present one holds on"
    )
    enter_at: dict[str, Probability] = Field(
        default={}, description="`enter` of single activities, by name; with hmm downstairs: 0.9"
    )
    exit_at: dict[str, Probability] = Field(
        default={},
        description="`exit` of single activities, by name; with hmm walking: 0.01, for stairs down "
        "0.001",
    )
    min_dwell_s: float = Field(
        default=0.0, ge=0, le=600, description="how long another must lead before it takes over"
    )
    merge_s: float = Field(
        default=2.0,
        ge=0,
        le=600,
        description="shorter stretches of unknown belong to what they interrupt",
    )
    unknown_below: float = Field(
        default=0.4, ge=0, le=1, description="no probability this high: unknown"
    )
    novelty: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="how unusual a signal may be, 1 as the card says; 0: never ask",
    )
    off_body_after_s: float = Field(
        default=600.0, ge=60, le=86400, description="lying still for this long: not worn"
    )
    no_data_after_s: float = Field(
        default=10.0, ge=3, le=86400, description="silence after which a bout is closed"
    )

    def over(self, card: ModelCard) -> Self:
        """Return these settings, what is not set taken from the card.

        Raises `ModelRefused` for a card that sets what can't be set.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            own = type(self).model_validate(card.decision)
        except ValidationError as error:
            faults = "; ".join(
                f"decision.{'.'.join(map(str, e['loc']))}: {e['msg']} (it is {e['input']!r})"
                for e in error.errors()
            )
            raise ModelRefused(f"the card of the model {card.name}: {faults}") from error
        return own.model_copy(update=given)


@dataclass(frozen=True, slots=True, eq=False)
class PredictionBatch:
    """What the model says of consecutive windows: `probs` float64[w, labels], calibrated.

    With a column more where it may not be known which way is up: `still` has the postures' share.
    `novelty` is what the signal says, None: nothing.
    """

    stream: str
    windows: WindowBatch
    probs: NDArray[np.float64]
    novelty: Novelty | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """How one window was judged: what the model said, which gate spoke, what came of it.

    `probs` are the model's, `posterior` the smoother's, both by state (unknown among the latter);
    `chosen` leads now, `bout` is the activity that is open after this window.
    """

    stream: str
    t_start: int
    t_end: int
    probs: dict[str, float]
    gate: Gate | None
    distance: float
    turn: float
    posterior: dict[str, float]
    chosen: str
    bout: str | None

    def payload(self) -> dict[str, Any]:
        """Return it as JSON values; times in ns."""
        figures = {"distance": _rounded(self.distance), "turn": _rounded(self.turn)}
        return {**asdict(self), **figures}


@dataclass(frozen=True, slots=True, eq=False)
class _Weighed:
    """Windows that came at a time, by row: seldom asked for, so not taken apart."""

    t_start: NDArray[np.int64]
    probs: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    gates: list[Gate | None]
    novelty: Novelty | None


@dataclass(slots=True)
class _Seen:
    """A window that waits for its posterior; it speaks for [begin, end), ns."""

    begin: int
    end: int
    t_end: int
    coverage: float
    spread: float | None
    row: int
    weighed: _Weighed


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


class _Mean:
    """Running means over the windows of a bout; added one by one, however many at a time."""

    def __init__(self, labels: int) -> None:
        self.n = 0
        self._coverage = 0.0
        self._probs = np.zeros(labels)

    def add(self, probs: NDArray[np.float64], seen: Sequence[_Seen]) -> None:
        """Add windows and their probabilities, float64[w, labels]."""
        self.n += len(seen)
        for one in seen:
            self._coverage += one.coverage
        self._probs = np.add.accumulate(np.concatenate((self._probs[None], probs)))[-1]

    def merge(self, other: _Mean) -> None:
        self.n += other.n
        self._coverage += other._coverage
        self._probs = self._probs + other._probs

    @property
    def coverage(self) -> float:
        return self._coverage / max(self.n, 1)

    @property
    def probs(self) -> list[float]:
        means: list[float] = (self._probs / max(self.n, 1)).tolist()
        return means


class Decision:
    """The state of one stream.

    Another state takes over once its posterior reaches `enter` while the present one's is below
    `exit`, and it has led for `min_dwell_s` (`merge_s` for unknown); the onset is since when it
    explains the windows better.  Of a window all is told `lag_s` later, the state of now (`state`)
    at once.

    However many windows come at a time, what is decided is the same.  A stretch of windows in which
    the present state leads changes nothing and is passed in one step; the rest is judged one by
    one.
    """

    def __init__(
        self,
        stream: str,
        card: ModelCard,
        settings: DecisionSettings,
        explain: Callable[[Explained], None] | None = None,
    ) -> None:
        settings = settings.over(card)
        self._stream = stream
        self._model = card.identity
        self._explain = explain
        self._labels = [*card.states, UNKNOWN, OFF_BODY]
        self._unknown = len(card.states)
        self._off_body = self._unknown + 1
        self._enter, self._exit_below = _thresholds(card, settings)
        self._stride_ns = card.input.stride_samples * card.input.period_ns
        self._silence_ns = round(settings.no_data_after_s * NS_PER_S)
        dwell_ns, merge_ns = (round(t * NS_PER_S) for t in (settings.min_dwell_s, settings.merge_s))
        self._dwell_ns = [dwell_ns] * self._unknown + [max(dwell_ns, merge_ns), 0]
        self._pick_up_ns = max(dwell_ns, merge_ns)  # likewise, of what was not worn
        self._evidence = Evidence(
            card, settings.unknown_below, settings.novelty, settings.off_body_after_s
        )
        self._smoother = _smoother(card, settings)
        self._owed: deque[_Seen] = deque()  # windows without a posterior yet
        self._latest: list[float] = []  # posterior of the newest window, by what came until then
        self._segment = 0
        self._status: Status = "checking"
        self._status_since: int | None = None  # nothing is known yet
        self._status_reason: Reason | None = None
        self._starts: dict[Status, tuple[int, int]] = {}  # segment and time of the last of each
        self._resumed: tuple[Status, Reason | None] = ("checking", None)  # what `resume` tells
        self._last_end: int | None = None  # where the evidence ends
        self._left_ns = 0  # where the last bout ended: the next one begins no earlier
        self._bout: int | None = None  # index of the present state
        self._bout_start = self._bout_segment = 0
        self._decided_ns = 0  # when the last thing was known; never runs back within a segment
        self._reset()

    def _reset(self) -> None:
        """Forget the past: what comes next is judged afresh."""
        self._posterior: list[float] = []  # of the window judged last
        self._lead: list[int | None] = [None] * len(self._labels)
        self._mean = _Mean(self._unknown + 1)
        self._doubt = _Mean(self._unknown + 1)  # windows that speak for another state, so far
        self._recent: deque[_Seen] = deque(maxlen=_RECENT_WINDOWS)  # judged, the last ones
        self._guess, self._guess_since = self._unknown, 0
        self._evidence.reset()
        self._last_end = None

    @property
    def last_evidence_ns(self) -> int | None:
        """Where the evidence for the open bout ends; None without one."""
        return None if self._bout is None else self._last_end

    def state(self) -> StreamState:
        """Return what the stream is now: the best guess by all that came, the bout as told."""
        now, open_ = self._latest, self._bout is not None
        guess = self._off_body if self._bout == self._off_body else self._guess
        confirmed = self._labels[self._bout] if self._bout is not None else None
        same = guess == self._bout
        return StreamState(
            stream=self._stream,
            status=self._status,
            activity=self._labels[guess] if now else None,
            confirmed=confirmed,
            since=self._bout_start if same else self._guess_since if now else self._status_since,
            t=None if self._status_since is None else max(self._decided_ns, self._last_end or 0),
            confidence=self._confidence(guess, now) if now else None,
            probs=self._probs(now) if now else {},
            bout=self._event("enter", 0).bout if open_ else None,
            model=self._model,
            reason=self._status_reason,
        )

    def update(self, batch: PredictionBatch) -> list[Event]:
        """Take the predictions of consecutive windows; return what they decide."""
        events: list[Event] = []
        for part in self._between_silences(batch.windows.t_end.tolist()):
            t_start, t_end = (
                int(t[part.start]) for t in (batch.windows.t_start, batch.windows.t_end)
            )
            if self._last_end is not None and t_end <= self._last_end:  # the clock was set back
                events += self.close("no_data", self._last_end)
            else:
                events += self.lapse(t_end)
            events += self._enter_segment(batch.windows.segment, t_start)
            if self._status != "ok":
                events += self._change("ok", t_start, t_end, None)
            events += self._see(batch, part)
        return events

    def _between_silences(self, ends: list[int]) -> Iterator[slice]:
        """Cut windows where the evidence is missing for so long that a bout ends there."""
        cuts = [i for i, (a, b) in enumerate(pairwise(ends), 1) if b - a > self._silence_ns]
        return (slice(a, b) for a, b in pairwise([0, *cuts, len(ends)]) if a < b)

    def _see(self, batch: PredictionBatch, part: slice) -> list[Event]:
        """Take windows that nothing ends between; judge those whose posteriors that settles."""
        seen, likelihood = self._weigh(batch, part)
        self._owed += seen
        ends = [one.t_end for one in seen]
        self._last_end, self._last_segment = ends[-1], self._segment
        now, final = self._smoother.feed(likelihood, ends)
        self._follow_guess(seen, now)
        return self._judge(final, ends[len(ends) - len(final) :])

    def _weigh(
        self, batch: PredictionBatch, part: slice
    ) -> tuple[list[_Seen], NDArray[np.float64]]:
        """Return windows of a batch, and how likely each is under each state."""
        windows, n = batch.windows, part.stop - part.start
        novelty = None if batch.novelty is None else batch.novelty.part(part)
        likelihood, gates = self._evidence.weigh(batch.probs[part], novelty)
        # A window speaks for its centre ± half a stride, the first of a run from its start on.
        t_start, t_end = windows.t_start[part], windows.t_end[part]
        run_start, half = windows.run_start[part], self._stride_ns // 2
        middle = (t_start + t_end) // 2
        begin = np.where(t_start < run_start + self._stride_ns, run_start, middle - half)
        rows = zip(
            np.maximum(begin, self._left_ns).tolist(),
            (middle + half).tolist(),
            t_end.tolist(),
            windows.coverage[part].tolist(),
            (None,) * n if novelty is None else novelty.spread.tolist(),
            range(n),
            repeat(_Weighed(t_start, batch.probs[part], likelihood, gates, novelty), n),
            strict=True,
        )
        return list(starmap(_Seen, rows)), likelihood

    def _follow_guess(self, seen: list[_Seen], now: NDArray[np.float64]) -> None:
        """Note the best guess of now, and since when it is that."""
        self._latest = now[-1].tolist()
        best = now.argmax(axis=1)
        sure = now.max(axis=1) >= np.take(self._enter, best)
        for one, guess in zip(seen, np.where(sure, best, -1).tolist(), strict=True):
            if guess not in (-1, self._guess) or not self._guess_since:
                self._guess = guess if guess != -1 else self._guess
                self._guess_since = one.begin

    def _judge(self, posteriors: NDArray[np.float64], known: list[int]) -> list[Event]:
        """Judge the oldest windows by their posteriors, each known at data time `known`."""
        seen = [self._owed.popleft() for _ in known]
        if not seen:
            return []
        rests = [self._evidence.rests_since(one.begin, one.end, one.spread) for one in seen]
        leads = posteriors.argmax(axis=1).tolist()
        leads = [self._off_body if r is not None else i for i, r in zip(leads, rests, strict=True)]
        changes = [i for i, (a, b) in enumerate(pairwise(leads), 1) if a != b]
        events: list[Event] = []
        for begin, end in pairwise([0, *changes, len(seen)]):
            at = begin
            while at < end and leads[at] != self._bout:
                events += self._weigh_up(seen[at], posteriors[at : at + 1], rests[at], known[at])
                at += 1
            if at < end:
                self._go_on(seen[at:end], posteriors[at:end])
        return events

    def _go_on(self, seen: list[_Seen], posteriors: NDArray[np.float64]) -> None:
        """Judge windows in which the present state leads."""
        self._posterior = posteriors[-1].tolist()
        self._lead = [None] * len(self._labels)
        self._recent += seen[-_RECENT_WINDOWS:]
        self._count(seen, posteriors)
        self._tell(self._bout, seen, posteriors)

    def _weigh_up(
        self, seen: _Seen, posteriors: NDArray[np.float64], rests_since: int | None, known: int
    ) -> list[Event]:
        """Judge one window in which another state leads."""
        (self._posterior,) = posteriors.tolist()
        self._recent.append(seen)
        self._follow_leads(seen.begin, self._posterior)
        chosen = self._choose(self._posterior)
        if rests_since is not None:
            chosen = self._off_body
            before = self._bout_start if self._bout_segment == self._last_segment else 0
            self._lead[chosen] = max(rests_since, self._left_ns, before)
        events = []
        if chosen == self._bout:
            self._count([seen], posteriors)
        else:
            self._doubt.add(posteriors, [seen])
            events = self._take_over(chosen, seen, known)
        self._tell(chosen, [seen], posteriors)
        return events

    def _count(self, seen: list[_Seen], posteriors: NDArray[np.float64]) -> None:
        """Count windows as the bout's, and those before that spoke for another state."""
        if self._doubt.n:
            self._mean.merge(self._doubt)
            self._doubt = _Mean(self._unknown + 1)
        self._mean.add(posteriors, seen)

    def _take_over(self, chosen: int, seen: _Seen, known: int) -> list[Event]:
        """Begin a bout of `chosen`, unless it has to wait."""
        lead = self._lead[chosen]
        onset = seen.begin if lead is None else lead
        dwell_ns = self._pick_up_ns if self._bout == self._off_body else self._dwell_ns[chosen]
        if self._bout is not None and seen.end - onset < dwell_ns:
            return []
        if chosen != self._off_body:
            onset = self._likely_onset(chosen, onset)
        events = []
        if self._bout is not None:
            events.append(self._exit("changed", onset, known))
        self._bout, self._bout_start, self._bout_segment = chosen, onset, self._last_segment
        self._mean, self._doubt = self._doubt, _Mean(self._unknown + 1)
        self._lead = [None] * len(self._labels)
        events.append(self._event("enter", self._known_at(known)))
        return events

    def _likely_onset(self, chosen: int, otherwise: int) -> int:
        """Return since when a state explains what was seen best, beside the present one.

        The maximum likelihood estimate of one change (Basseville, Nikiforov 1993, section 2.6).
        """
        if self._bout is None or self._bout == self._off_body:
            return otherwise
        earliest = self._bout_start if self._bout_segment == self._last_segment else -math.inf
        best, total, onset = -math.inf, 0.0, otherwise
        for seen in reversed(self._recent):
            if seen.begin <= earliest:
                break
            likelihood = seen.weighed.likelihood[seen.row].tolist()
            total += math.log(max(likelihood[chosen], LEAST) / max(likelihood[self._bout], LEAST))
            if total > best:
                best, onset = total, seen.begin
        return onset

    def _follow_leads(self, begin: int, posterior: list[float]) -> None:
        """Note since when each state has led the present one without a break."""
        present = -1.0 if self._bout in (None, self._off_body) else posterior[self._bout]
        if present >= max(posterior):
            self._lead = [None] * len(self._labels)
            return
        for i, p in enumerate(posterior):
            if p <= present:
                self._lead[i] = None
            elif self._lead[i] is None:
                self._lead[i] = begin

    def _choose(self, posterior: list[float]) -> int:
        """Return the state that a posterior speaks for, given the present one."""
        if self._bout is None or self._bout == self._off_body:
            return self._best(posterior, self._unknown)
        best = self._best(posterior, self._bout)
        return best if posterior[self._bout] < self._exit_below[self._bout][best] else self._bout

    def _best(self, posterior: list[float], otherwise: int) -> int:
        """Return the most likely state if that is likely enough to begin."""
        high = max(posterior)
        best = posterior.index(high)
        return best if high >= self._enter[best] else otherwise

    def verdict(self, verdict: Verdict) -> list[Event]:
        """Take what conditioning found about the signal."""
        # By another segment's clock nobody knows how long the evidence has been over.
        events = self.lapse(verdict.t) if verdict.segment == self._segment else []
        status, reason = verdict.status, verdict.reason
        changes = (status, reason) != (self._status, self._status_reason)
        if status == "rejected" and changes:
            events += self.close("rejected", verdict.t)
        events += self._enter_segment(verdict.segment, verdict.t)
        self._known_at(verdict.t)
        return events + self._change(status, verdict.t, verdict.t, reason) if changes else events

    def _enter_segment(self, segment: int, t: int) -> list[Event]:
        """Go on in another segment at data time `t` of its clock, which may be set back."""
        if segment == self._segment:
            return []
        events = self._settle(self._last_end)
        self._segment, self._decided_ns, self._left_ns = segment, 0, 0
        self._recent.clear()
        if self._status_since is not None:
            self._status_since = min(self._status_since, t)
        return events

    def _settle(self, known: int | None) -> list[Event]:
        """Judge the windows that wait, by what is there at data time `known`."""
        self._latest = []
        times = [max(known or one.t_end, one.t_end) for one in self._owed]
        return self._judge(self._smoother.flush(), times)

    def _known_at(self, t: int) -> int:
        """Return when something is decided that data until `t` tell."""
        self._decided_ns = max(self._decided_ns, t)
        return self._decided_ns

    def lapse(self, reached: int) -> list[Event]:
        """Say so if the evidence ended too long before `reached`, where data time now is."""
        end = self._last_end
        if end is None and self._status == "ok":  # no window came of what is sent
            end = max(self._status_since or 0, self._decided_ns)
        if end is None or reached <= end + self._silence_ns:
            return []
        return self.silence()

    def silence(self) -> list[Event]:
        """Nothing came for `no_data_after_s`: end the bout where its evidence ended."""
        if self._status == "paused":
            if self._resumed[0] == "checking":
                self._resumed = ("no_data", None)
            return []
        end = self._last_end
        if end is None:  # no window came of what was sent, if anything was
            if self._status_since is None or self._status in {"no_data", "rejected"}:
                return []
            end = max(self._status_since, self._decided_ns)
        decided = end + self._silence_ns
        return self.close("no_data", decided) + self._change("no_data", end, decided, None)

    def pause(self, t: int) -> list[Event]:
        """Nothing is to be told any more, from about data time `t` on, until `resume`."""
        if self._status == "paused":
            if self._resumed[0] == "no_data":  # something came again
                self._resumed = ("checking", None)
            return []
        events = self.close("paused")
        lasts = self._status in {"rejected", "no_data"}
        self._resumed = (self._status, self._status_reason) if lasts else ("checking", None)
        return events + self._change("paused", t, t, None)

    def resume(self, t: int) -> list[Event]:
        """Tell again: `checking` until the first window, unless nothing or nothing usable came."""
        status, reason = self._resumed
        if self._status != "paused":
            return []
        return self._change(status, t, t, reason)

    def succeed(self, other: Self) -> list[Event]:
        """Go on where one with another model or settings has closed its bout: check anew."""
        self._left_ns, self._decided_ns = other._left_ns, other._decided_ns
        self._status, self._status_since = other._status, other._status_since
        self._starts = dict(other._starts)
        if self._status not in {"ok", "rejected"}:
            return []
        now = max(self._left_ns, self._decided_ns)
        return self._change("checking", now, now, None)

    def close(self, reason: Reason, decided: int | None = None) -> list[Event]:
        """End the open bout where its evidence ended, and forget the past."""
        events = self._settle(self._last_end if decided is None else decided)
        if self._bout is not None and self._last_end is not None:
            self._mean.merge(self._doubt)
            end = max(self._last_end, self._bout_start)
            if self._last_segment == self._segment:  # else it ended by another clock
                self._left_ns = end
            events.append(self._exit(reason, end, end if decided is None else decided))
        self._bout = None
        self._reset()
        return events

    def _change(self, status: Status, t: int, decided: int, reason: Reason | None) -> list[Event]:
        segment, before = self._starts.get(status, (None, t))
        if segment == self._segment and t <= before:  # or two would have one id
            t = before + 1
        self._starts[status] = self._segment, t
        previous, self._status = self._status, status
        self._status_since, self._status_reason = t, reason
        return [
            Event(
                kind="status",
                stream=self._stream,
                t_decided=self._known_at(max(decided, t)),
                t_start=t,
                model=self._model,
                segment=self._segment,
                status=status,
                previous=previous,
                reason=reason,
            )
        ]

    def _exit(self, reason: Reason, end: int, decided: int) -> Event:
        return self._event(
            "exit",
            self._known_at(max(decided, end)),
            t_end=end,
            probs=self._mean.probs,
            reason=reason,
        )

    def _event(
        self,
        kind: Kind,
        decided: int,
        *,
        t_end: int | None = None,
        probs: list[float] | None = None,
        reason: Reason | None = None,
    ) -> Event:
        """Return an event of the present bout; without `probs` by the window judged last."""
        assert self._bout is not None
        probs = self._posterior if probs is None else probs
        return Event(
            kind=kind,
            stream=self._stream,
            t_decided=decided,
            t_start=self._bout_start,
            t_end=t_end,
            model=self._model,
            segment=self._bout_segment,
            activity=self._labels[self._bout],
            confidence=self._confidence(self._bout, probs),
            probs=self._probs(probs),
            coverage=round(self._mean.coverage, 4),
            reason=reason,
        )

    def _confidence(self, state: int, probs: list[float]) -> float:
        """Return the probability of a state; lying somewhere is no probability, so 1."""
        return 1.0 if state == self._off_body else round(probs[state], 4)

    def _probs(self, probs: list[float]) -> dict[str, float]:
        return {label: round(p, 4) for label, p in zip(self._labels, probs, strict=False)}

    def _tell(self, chosen: int | None, seen: list[_Seen], posteriors: NDArray[np.float64]) -> None:
        """Explain how windows were judged, after they were."""
        if self._explain is None or chosen is None:
            return
        bout = None if self._bout is None else self._labels[self._bout]
        for one, posterior in zip(seen, posteriors.tolist(), strict=True):
            weighed, row = one.weighed, one.row
            novelty = weighed.novelty
            self._explain(
                Explained(
                    stream=self._stream,
                    t_start=int(weighed.t_start[row]),
                    t_end=one.t_end,
                    probs=self._probs(weighed.probs[row].tolist()),
                    gate=weighed.gates[row],
                    distance=0.0 if novelty is None else float(novelty.distance[row]),
                    turn=0.0 if novelty is None else float(novelty.turn[row]),
                    posterior=self._probs(posterior),
                    chosen=self._labels[chosen],
                    bout=bout,
                )
            )


_DOWNSTAIRS_ENTER: Final = 0.9
_WALKING_EXIT: Final = 0.01
_WALKING_EXIT_DOWNSTAIRS: Final = 0.001
"""A stretch of a walk is taken for stairs, and surely, more often than there are stairs.

There are people whose walk a model takes for downstairs for many windows on end; a walk so goes on
until next to nothing speaks for it.  At a third of this, real stairs are missed.
"""


def _thresholds(
    card: ModelCard, settings: DecisionSettings
) -> tuple[list[float], list[list[float]]]:
    """Return by state what it needs to begin, and below what it may end for which other state."""
    states = [*card.states, UNKNOWN]
    enter, leave = dict.fromkeys(states, settings.enter), dict.fromkeys(states, settings.exit)
    if settings.smoothing == "hmm":
        enter["downstairs"] = max(settings.enter, _DOWNSTAIRS_ENTER)
        leave["walking"] = min(settings.exit, _WALKING_EXIT)
    enter |= settings.enter_at
    leave |= settings.exit_at
    needed = [max(enter[state], card.thresholds.get(state, 0.0)) for state in states]
    below = {state: dict.fromkeys(states, leave[state]) for state in states}
    if settings.smoothing == "hmm" and "walking" in below and "walking" not in settings.exit_at:
        below["walking"]["downstairs"] = min(settings.exit, _WALKING_EXIT_DOWNSTAIRS)
    return needed, [[below[state][other] for other in states] for state in states]


def _smoother(card: ModelCard, settings: DecisionSettings) -> Smoother:
    if settings.smoothing == "hmm":
        stride_s = card.input.stride_samples / card.input.sampling_rate_hz
        # Windows that overlap say in part the same thing: each counts for what it has of its own.
        own = min(card.input.stride_samples / card.input.window_samples, 1.0)
        transitions = transition_matrix(card, settings.bout_s)
        return FixedLag(transitions, round(settings.lag_s / stride_s), own)
    return Averaged(settings.smoothing_s if settings.smoothing == "ema" else 0.0)
