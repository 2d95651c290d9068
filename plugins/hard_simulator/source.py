"""The source that streams synthetic wearers: what `plugin = "simulator"` configures.

It is a clock around `hard_simulator.model` and emits SYNTHETIC samples only.  The runtime calls
`SimulatorSource.run`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from hard.api import NS_PER_S, Annotation, Declared, PluginConfig, SampleBatch, Source
from hard_simulator.model import Bout, Motion, Placement, Wearer, activities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hard.api import Emit, Message, Stop

__all__ = ["SimulatorConfig", "SimulatorSource"]

DEFAULT_SCRIPTS = {
    "pocket": "standing:20 walking:60 upstairs:20 walking:30 sitting:60 standing:15 running:40 "
    "walking:30 downstairs:20 standing:15",
    "waist": "standing:20 walking:60 upstairs:20 walking:30 sitting:60 standing:15 walking:30 "
    "downstairs:20 sitting:15 laying:60",
}
MIN_BOUT_S = 2.0
"""Below, a bout would be little more than its two transitions."""
STOP_CHECK_S = 0.25


class SimulatorConfig(PluginConfig):
    """What to simulate; `[sources.NAME]` with `plugin = "simulator"`."""

    placement: Placement = "pocket"
    script: list[str] = Field(default_factory=list, description="activity:seconds, in order")
    streams: Annotated[int, Field(ge=1, le=1000)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    rate_hz: Annotated[float, Field(ge=20.0, le=200.0)] = 50.0
    realtime: bool = True
    start: str = "2024-01-01T00:00:00Z"

    @field_validator("start")
    @classmethod
    def _has_an_offset(cls, start: str) -> str:
        try:
            moment = datetime.fromisoformat(start)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise ValueError(f"{start!r} is no RFC 3339 time such as 2024-01-01T00:00:00Z")
        return start

    @model_validator(mode="after")
    def _script_is_possible(self) -> Self:
        for entry in self.script:
            _bout(entry, self.placement)
        return self

    def bouts(self) -> list[Bout]:
        """Return the script, or the placement's default one, as bouts."""
        script = self.script or DEFAULT_SCRIPTS[self.placement].split()
        return [_bout(entry, self.placement) for entry in script]

    def start_ns(self) -> int:
        """Return `start` in ns since the epoch."""
        since = datetime.fromisoformat(self.start) - datetime.fromtimestamp(0, UTC)
        return since // timedelta(microseconds=1) * 1000


def _bout(entry: str, placement: Placement) -> Bout:
    """Parse "activity:seconds"; raise `ValueError` that names the choices."""
    choices = ", ".join(activities(placement))
    match = re.fullmatch(r"\s*([a-z]+)\s*:\s*(\d+(?:\.\d+)?)\s*", entry)
    if match is None:
        raise ValueError(
            f'{entry!r} is not "activity:seconds", such as "walking:60"; activities: {choices}'
        )
    activity, duration_s = match[1], float(match[2])
    if activity not in activities(placement):
        raise ValueError(f"{activity!r} is no activity at placement {placement!r}; use {choices}")
    if not MIN_BOUT_S <= duration_s <= 86400:
        raise ValueError(f"{entry!r}: a bout lasts from {MIN_BOUT_S:g} s to 86400 s (one day)")
    return Bout(activity, duration_s)


class _Stream:
    """One wearer's stream: its motion, cut into messages of a second from `start_ns` on."""

    def __init__(self, name: str, config: SimulatorConfig, index: int, start_ns: int) -> None:
        bouts = config.bouts()
        rng = np.random.default_rng([config.seed, index])
        wearer = Wearer.draw(config.placement, rng)
        self._name = name
        self._rate_hz = config.rate_hz
        self._start_ns = start_ns
        self._motion = Motion(wearer, _repeated(bouts, config.realtime), config.rate_hz, rng)
        self._changes = _changes(_repeated(bouts, config.realtime))
        self._change = next(self._changes, None)
        self._n_sent = 0
        self._end_s = 0

    def message(self) -> Message:
        """Return the samples and changes of activity of the next second; empty at the end."""
        self._end_s += 1
        n = int(np.ceil(self._end_s * self._rate_hz)) - self._n_sent
        accel, gyro = self._motion.read(n)
        index = self._n_sent + np.arange(len(accel))
        self._n_sent += len(accel)
        annotations = list(self._annotations())
        if not len(accel):
            return annotations
        t = self._start_ns + np.rint(index * (NS_PER_S / self._rate_hz)).astype(np.int64)
        return [
            *annotations,
            SampleBatch(self._name, "accel", t, accel, Declared("m/s2")),
            SampleBatch(self._name, "gyro", t, gyro, Declared("rad/s")),
        ]

    def _annotations(self) -> Iterator[Annotation]:
        """Yield the changes of activity that begin before the end of this second."""
        while self._change is not None and self._change[0] < self._end_s:
            begin_s, activity = self._change
            t = self._start_ns + round(begin_s * NS_PER_S)
            yield Annotation(self._name, t, activity)
            self._change = next(self._changes, None)


def _repeated(bouts: list[Bout], forever: bool) -> Iterator[Bout]:
    return cycle(bouts) if forever else iter(bouts)


def _changes(bouts: Iterator[Bout]) -> Iterator[tuple[float, str]]:
    """Yield when (s) each activity begins, and at the end of the script "" for none."""
    begin_s = 0.0
    for bout in bouts:
        yield begin_s, bout.activity
        begin_s += bout.duration_s
    yield begin_s, ""


class SimulatorSource(Source[SimulatorConfig]):
    """SYNTHETIC motion of made-up wearers, to try everything without a sensor.

    The `streams` wearers are named sim-1, sim-2 ...  A message is one second of one stream.  In
    real time a message comes when its second is over, stamped by the wall clock of the start and
    the monotonic clock since, so that a step of the wall clock neither floods nor stalls; the
    script repeats until `stop`.  Otherwise messages come as fast as `emit` takes them, stamped
    from `start` on, once through the script.
    """

    Config: ClassVar[type[SimulatorConfig]] = SimulatorConfig

    def run(self, emit: Emit, stop: Stop) -> None:
        """Emit until `stop` or the end of the script; see `hard.api.Source.run`."""
        begun_s = time.monotonic()
        start_ns = time.time_ns() if self.config.realtime else self.config.start_ns()
        streams = [
            _Stream(f"sim-{n}", self.config, n, start_ns) for n in range(1, self.config.streams + 1)
        ]
        for second in count(1):
            if self.config.realtime:
                _wait_until(begun_s + second, stop)
            messages = False
            for stream in streams:
                if stop.is_set():
                    return
                message = stream.message()
                if message:
                    emit(message)
                    messages = True
            if not messages:
                return


def _wait_until(monotonic_s: float, stop: Stop) -> None:
    """Return at `monotonic_s` of the monotonic clock, or once told to stop."""
    while (left_s := monotonic_s - time.monotonic()) > 0:
        if stop.wait(min(left_s, STOP_CHECK_S)):
            return
