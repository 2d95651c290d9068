"""Predictions of one stream to stable events: smoothing, hysteresis, dwell, unknown, no data.

Pure, in data time, called by the pipeline.  Every `enter` gets its `exit`; bouts of one stream
never overlap; what was said is never taken back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from hard.api import NS_PER_S, Event, Kind, Reason, Status, StreamState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hard.card import ModelCard
    from hard.conditioning import Verdict
    from hard.windowing import WindowBatch

__all__ = ["UNKNOWN", "Decision", "DecisionSettings", "PredictionBatch"]

UNKNOWN = "unknown"


class DecisionSettings(BaseModel):
    """What trades delay against false events; times in seconds of data."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    smoothing_s: float = Field(
        default=1.5, ge=0, le=600, description="time constant of the averaging; 0 for none"
    )
    enter: float = Field(
        default=0.5, ge=0, le=1, description="probability at which an activity may begin"
    )
    exit: float = Field(
        default=0.5, ge=0, le=1, description="probability at which the present one holds on"
    )
    min_dwell_s: float = Field(
        default=2.0, ge=0, le=600, description="how long another must lead before it takes over"
    )
    unknown_below: float = Field(
        default=0.4, ge=0, le=1, description="no probability this high: unknown"
    )
    no_data_after_s: float = Field(
        default=10.0, ge=3, le=86400, description="silence after which a bout is closed"
    )


@dataclass(frozen=True, slots=True, eq=False)
class PredictionBatch:
    """What the model says of consecutive windows: `probs` float64[w, states], calibrated.

    The states are the card's; where a posture can't be known, `still` has the postures' share.
    """

    stream: str
    windows: WindowBatch
    probs: NDArray[np.float64]


class _Mean:
    """Running means over the windows of a bout."""

    def __init__(self, labels: int) -> None:
        self.n = 0
        self.coverage = 0.0
        self.probs = [0.0] * labels

    def add(self, probs: list[float], coverage: float) -> None:
        self.n += 1
        self.coverage += coverage
        self.probs = [a + b for a, b in zip(self.probs, probs, strict=True)]

    def merge(self, other: _Mean) -> None:
        if not other.n:
            return
        self.n += other.n
        self.coverage += other.coverage
        self.probs = [a + b for a, b in zip(self.probs, other.probs, strict=True)]


class Decision:
    """The state of one stream.

    Probabilities are averaged exponentially over time (`smoothing_s`).  Another label takes over
    once its average reaches `enter` while the present one's is below `exit`, and its raw
    probability has led the present one's for `min_dwell_s`; the onset is where that lead began.
    """

    def __init__(self, stream: str, card: ModelCard, settings: DecisionSettings) -> None:
        self._stream = stream
        self._model = card.identity
        self._labels = [*card.states, UNKNOWN]
        self._unknown = len(card.states)
        self._nobody: list[int | None] = [None] * len(self._labels)
        self._enter = [max(settings.enter, card.thresholds.get(x, 0.0)) for x in card.states]
        self._settings = settings
        self._stride_ns = card.input.stride_samples * card.input.period_ns
        self._silence_ns = round(settings.no_data_after_s * NS_PER_S)
        self._dwell_ns = round(settings.min_dwell_s * NS_PER_S)
        self._segment = 0
        self._status: Status = "checking"
        self._status_since = 0
        self._status_reason: Reason | None = None
        self._last_end: int | None = None  # where the evidence ends
        self._left_ns = 0  # where the last bout ended: the next one begins no earlier
        self._bout: int | None = None  # index of the present label
        self._bout_start = self._bout_segment = 0
        self._decided_ns = 0  # when the last thing was known; never runs back within a segment
        self._reset()

    def _reset(self) -> None:
        """Forget the past: what comes next is judged afresh."""
        self._smooth: list[float] = []
        self._lead = self._nobody
        self._mean = _Mean(self._unknown)
        self._doubt = _Mean(self._unknown)  # windows that speak for another label, so far
        self._last_end = None

    @property
    def last_evidence_ns(self) -> int | None:
        """Where the evidence for the open bout ends; None without one."""
        return None if self._bout is None else self._last_end

    def state(self) -> StreamState:
        """Return what the stream is now."""
        open_ = self._bout is not None
        return StreamState(
            stream=self._stream,
            status=self._status,
            activity=self._labels[self._bout] if self._bout is not None else None,
            since=self._bout_start if open_ else self._status_since,
            t=max(self._decided_ns, self._last_end or 0),
            confidence=self._confidence() if open_ else None,
            probs=self._probs(self._smooth) if open_ else {},
            bout=self._event("enter", 0).bout if open_ else None,
            model=self._model,
            reason=self._status_reason,
        )

    def update(self, batch: PredictionBatch) -> list[Event]:
        """Take the predictions of consecutive windows; return what they decide."""
        events: list[Event] = []
        windows = batch.windows
        rows = zip(
            windows.t_start.tolist(),
            windows.t_end.tolist(),
            windows.run_start.tolist(),
            windows.coverage.tolist(),
            batch.probs.tolist(),
            strict=True,
        )
        for t_start, t_end, run_start, coverage, probs in rows:
            if self._last_end is not None:
                if t_end <= self._last_end:  # the clock was set back
                    events += self.close("no_data", self._last_end)
                else:
                    events += self.lapse(t_end)
            self._enter_segment(windows.segment)
            if self._status != "ok":
                events += self._change("ok", t_start, t_end, None)
            # A window speaks for its centre ± half a stride, the first of a run from its start on.
            middle = (t_start + t_end) // 2
            first = t_start < run_start + self._stride_ns
            begin = max(run_start if first else middle - self._stride_ns // 2, self._left_ns)
            events += self._window(begin, middle + self._stride_ns // 2, t_end, coverage, probs)
        return events

    def _window(
        self, begin: int, end: int, t_end: int, coverage: float, probs: list[float]
    ) -> list[Event]:
        """Judge one window, which speaks for [begin, end)."""
        if self._last_end is None or not self._smooth:
            self._smooth = probs
        elif self._settings.smoothing_s:
            keep = math.exp((self._last_end - t_end) / (self._settings.smoothing_s * NS_PER_S))
            self._smooth = [p + keep * (s - p) for p, s in zip(probs, self._smooth, strict=True)]
        else:
            self._smooth = probs
        self._last_end, self._last_segment = t_end, self._segment
        self._follow_leads(begin, probs)
        events: list[Event] = []
        chosen = self._choose()
        if chosen == self._bout:
            self._mean.add(probs, coverage)
            if self._doubt.n:
                self._mean.merge(self._doubt)
                self._doubt = _Mean(self._unknown)
            return events
        self._doubt.add(probs, coverage)
        onset = self._lead[chosen]
        onset = begin if onset is None else onset
        if self._bout is not None and end - onset < self._dwell_ns:
            return events
        if self._bout is not None:
            events.append(self._exit("changed", onset, t_end))
        self._bout, self._bout_start, self._bout_segment = chosen, onset, self._segment
        self._mean, self._doubt = self._doubt, _Mean(self._unknown)
        self._lead = self._nobody
        events.append(self._event("enter", self._known_at(t_end)))
        return events

    def _follow_leads(self, begin: int, probs: list[float]) -> None:
        """Note since when each label has led the present one without a break."""
        present, best = 0.0, max(probs)
        if self._bout is not None and self._bout != self._unknown:
            present = probs[self._bout]
        if present == best >= self._settings.unknown_below:
            self._lead = self._nobody
            return
        leads = [p > present for p in probs]
        leads.append(best < self._settings.unknown_below)
        self._lead = [
            (begin if since is None else since) if leads_now else None
            for since, leads_now in zip(self._lead, leads, strict=True)
        ]

    def _choose(self) -> int:
        """Return the label that the averages speak for, given the present one."""
        best = max(self._smooth)
        label = self._smooth.index(best)
        if best < self._settings.unknown_below:
            return self._unknown
        if self._bout is None:
            return label if best >= self._enter[label] else self._unknown
        present = 0.0 if self._bout == self._unknown else self._smooth[self._bout]
        if best >= self._enter[label] and present < self._settings.exit:
            return label
        return self._bout

    def verdict(self, verdict: Verdict) -> list[Event]:
        """Take what conditioning found about the signal."""
        status, reason = verdict.status, verdict.reason
        changes = (status, reason) != (self._status, self._status_reason)
        events = self.close("rejected", verdict.t) if status == "rejected" and changes else []
        self._enter_segment(verdict.segment)
        self._known_at(verdict.t)
        return events + self._change(status, verdict.t, verdict.t, reason) if changes else events

    def _enter_segment(self, segment: int) -> None:
        """Go on in another segment, whose clock may be set back."""
        if segment != self._segment:
            self._segment, self._decided_ns, self._left_ns = segment, 0, 0

    def _known_at(self, t: int) -> int:
        """Return when something is decided that data until `t` tell."""
        self._decided_ns = max(self._decided_ns, t)
        return self._decided_ns

    def lapse(self, reached: int) -> list[Event]:
        """Say so if the evidence ended too long before `reached`, where data time now is."""
        if self._last_end is None or reached <= self._last_end + self._silence_ns:
            return []
        return self.silence()

    def silence(self) -> list[Event]:
        """Nothing came for `no_data_after_s`: end the bout where its evidence ended."""
        if self._last_end is None:
            return []
        end = self._last_end
        decided = end + self._silence_ns
        return self.close("no_data", decided) + self._change("no_data", end, decided, None)

    def close(self, reason: Reason, decided: int | None = None) -> list[Event]:
        """End the open bout where its evidence ended, and forget the past."""
        events = []
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
        previous, self._status = self._status, status
        self._status_since, self._status_reason = t, reason
        return [
            Event(
                kind="status",
                stream=self._stream,
                t_decided=self._known_at(decided),
                t_start=t,
                model=self._model,
                segment=self._segment,
                status=status,
                previous=previous,
                reason=reason,
            )
        ]

    def _exit(self, reason: Reason, end: int, decided: int) -> Event:
        n = max(self._mean.n, 1)
        probs = [p / n for p in self._mean.probs]
        return self._event(
            "exit",
            self._known_at(max(decided, end)),
            t_end=end,
            probs=probs,
            coverage=self._mean.coverage / n,
            reason=reason,
        )

    def _event(
        self,
        kind: Kind,
        decided: int,
        *,
        t_end: int | None = None,
        probs: list[float] | None = None,
        coverage: float | None = None,
        reason: Reason | None = None,
    ) -> Event:
        """Return an event of the present bout; without `probs` by the averages of now."""
        assert self._bout is not None
        if probs is None:
            probs = self._smooth
            coverage = self._mean.coverage / max(self._mean.n, 1)
        return Event(
            kind=kind,
            stream=self._stream,
            t_decided=decided,
            t_start=self._bout_start,
            t_end=t_end,
            model=self._model,
            segment=self._bout_segment,
            activity=self._labels[self._bout],
            confidence=self._confidence(probs),
            probs=self._probs(probs),
            coverage=None if coverage is None else round(coverage, 4),
            reason=reason,
        )

    def _confidence(self, probs: list[float] | None = None) -> float:
        """Return the probability of the present label; for unknown, that it is none of them."""
        probs = self._smooth if probs is None else probs
        if self._bout is None or self._bout == self._unknown:
            return round(1 - max(probs), 4)
        return round(probs[self._bout], 4)

    def _probs(self, probs: list[float]) -> dict[str, float]:
        return {label: round(p, 4) for label, p in zip(self._labels, probs, strict=False)}
