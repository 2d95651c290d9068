"""Which streams may come in, how many, and how fast: for sources that strangers can send to.

Pure: the caller gives the time.  Called by such a source for every message it decoded.
"""

from __future__ import annotations

from collections import OrderedDict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from pydantic import Field

from hard.api import PluginConfig
from hard_formats.series import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

_BURST_S: Final = 30.0
"""A phone that was out of reach may deliver this much at once."""
_IDLE_AFTER_S: Final = 600.0


class AdmissionConfig(PluginConfig):
    """Which streams may come in: a part of the configuration of sources that anyone can send to."""

    allow: list[str] = Field(default=["*"])
    max_streams: int = Field(1000, ge=1)
    max_rate_hz: float = Field(2000.0, ge=1.0)

    def admission(self) -> Admission:
        """Return a new `Admission` as configured; a stream that is idle for 10 min makes room."""
        return Admission(self.allow, self.max_streams, self.max_rate_hz, _IDLE_AFTER_S)


class Admission:
    """Knows the streams that were admitted: at most `max_streams`, idle ones make room.

    So do strangers for those that are known from before, or a flood of names at a restart would
    lock them out.
    `max_rate_hz` is the mean number of samples a second, of all sensors together, over 30 s.
    """

    def __init__(
        self, allow: Sequence[str], max_streams: int, max_rate_hz: float, idle_after_s: float
    ) -> None:
        self._allow = tuple(allow)
        self._max_streams = max_streams
        self._max_rate_hz = max_rate_hz
        self._idle_after_s = idle_after_s
        # stream -> when it last sent, how many samples it may send at once; the idlest first
        self._streams: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._ranks: dict[str, int] = {}  # of those known from before: the latest is 0

    def expect(self, streams: Sequence[str]) -> None:
        """Let these come in before others, the first of them first."""
        self._ranks = {stream: rank for rank, stream in enumerate(streams)}

    def admit(self, stream: str, n_samples: int, now_s: float) -> None:
        """Take note of `n_samples` of `stream`; raise `Refused` if they may not come in.

        Of all sensors together; `now_s` is a monotonic time.
        """
        burst = self._max_rate_hz * _BURST_S
        if stream in self._streams:
            last_s, credit = self._streams[stream]
            credit = min(burst, credit + (now_s - last_s) * self._max_rate_hz)
        else:
            self._make_room(stream, now_s)
            credit = burst
        too_fast = n_samples > credit
        self._streams[stream] = (now_s, credit if too_fast else credit - n_samples)
        self._streams.move_to_end(stream)
        if too_fast:
            raise Refused(
                "too_fast",
                f"stream {stream!r} sends more than max_rate_hz = {self._max_rate_hz:g} samples a "
                "second, all sensors together",
            )

    def require_allowed(self, stream: str) -> None:
        """Raise `Refused` for a stream that matches nothing in `allow`."""
        if not any(fnmatchcase(stream, pattern) for pattern in self._allow):
            raise Refused("not_allowed", f"stream {stream!r} matches nothing in allow")

    def _make_room(self, stream: str, now_s: float) -> None:
        self.require_allowed(stream)
        if len(self._streams) < self._max_streams:
            return
        leaving, (last_s, _) = next(iter(self._streams.items()))
        if now_s - last_s >= self._idle_after_s:
            del self._streams[leaving]
            return
        if stream in self._ranks:
            leaving = max(self._streams, key=self._rank)  # of strangers the idlest
        if self._rank(leaving) <= self._rank(stream):
            raise Refused(
                "too_many_streams",
                f"stream {stream!r} is beyond max_streams = {self._max_streams}, and none has been "
                f"idle for {self._idle_after_s:g} s",
            )
        del self._streams[leaving]

    def _rank(self, stream: str) -> int:
        return self._ranks.get(stream, len(self._ranks))
