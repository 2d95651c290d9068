"""This machine's wall clock, and why it can't be believed, if so.

A machine without a battery for its clock, such as a Raspberry Pi, begins at 1970, or where it was
when it was switched off, until the network tells it the time.  What is decided meanwhile is flagged
`clock_unsynced`.  Silence, back-off, watchdog and deadlines go by monotonic time and windows by the
stamps of their samples, so that a clock that is set moves none of them.

`hard.runtime` has one and asks it; nothing here has a thread.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hard.api import NS_PER_S, PLAUSIBLE_NS, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SYNCHRONISE", "WallClock", "kernel_is_synchronised", "synchronised"]

SYNCHRONISE = "set it by network time: timedatectl set-ntp true"
BACK_NS = 60 * NS_PER_S
"""A clock that goes back by less was corrected."""
SET_NS = 10 * NS_PER_S
"""A clock that moves by more against monotonic time was set: less is a correction."""
LINGER_NS = 10 * NS_PER_S
"""What is decided so soon after may rest on stamps from before."""
_TIMESYNC = Path("/run/systemd/timesync")
_BATTERY = Path("/sys/class/rtc/rtc0")
_TIMEX_BYTES = 512  # more than struct timex has anywhere; zeros ask and change nothing
_TIME_ERROR = 5


def kernel_is_synchronised() -> bool | None:
    """Return what the kernel says (adjtimex(2), which here changes nothing); None if it does not.

    `timedatectl` asks the same.  The sandbox of the service forbids it.
    """
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    state = int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return None if state < 0 else state != _TIME_ERROR


def synchronised() -> bool | None:
    """Return whether the clock was set by network time; None where nobody here can tell.

    False needs somebody who is at it (systemd-timesyncd) and a clock without a battery: containers
    and virtual machines have their host's time, and a kernel that knows nothing of it.
    """
    if kernel_is_synchronised() or (_TIMESYNC / "synchronized").exists():
        return True
    return False if _TIMESYNC.is_dir() and not _BATTERY.exists() else None


class WallClock:
    """Tells whether the clock can be believed, and whether it was set.

    It can't while it shows a time before 2025, while it is known not to be synchronised, and, where
    nobody knows, while it is over a minute behind the latest time that was known to be right:
    `known_ns`, from an earlier run, or one of this run.  `look` is called from one thread, about
    once a second, `doubt` from any.
    """

    def __init__(
        self,
        known_ns: int = 0,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        is_synchronised: Callable[[], bool | None] = synchronised,
    ) -> None:
        self.now_ns = now_ns
        self._monotonic_ns = monotonic_ns
        self._is_synchronised = is_synchronised
        self._known_ns = known_ns
        self._ahead_ns = now_ns() - monotonic_ns()
        self._doubtful_ns: int | None = None  # when it last was, monotonic

    def doubt(self) -> str | None:
        """Return why the clock can't be believed, a sentence; None where it can."""
        now_ns = self.now_ns()
        if now_ns < PLAUSIBLE_NS:
            return self._doubted(f"this machine's clock shows {_day(now_ns)}: it is not set yet")
        told = self._is_synchronised()
        if told is False:
            return self._doubted("this machine's clock is not synchronised yet")
        if told is None and now_ns < self._known_ns - BACK_NS:
            known = rfc3339(self._known_ns)
            return self._doubted(
                f"this machine's clock shows {rfc3339(now_ns)}, before {known}, which it has "
                "already been"
            )
        return None

    def is_unsynced(self) -> bool:
        """Tell whether what is decided now must be flagged."""
        if self.doubt() is not None:
            return True
        doubtful_ns = self._doubtful_ns
        return doubtful_ns is not None and self._monotonic_ns() < doubtful_ns + LINGER_NS

    def look(self) -> int:
        """Take note of the time; return by how many ns the clock was set since the last look.

        0 where it was not, or by less than 10 s, which moves nothing.
        """
        now_ns = self.now_ns()
        ahead_ns = now_ns - self._monotonic_ns()
        moved_ns = ahead_ns - self._ahead_ns
        if abs(moved_ns) <= SET_NS:
            moved_ns = 0
        else:
            self._ahead_ns = ahead_ns
        if self.doubt() is None:
            told = self._is_synchronised()
            self._known_ns = now_ns if told else max(self._known_ns, now_ns)
        return moved_ns

    def _doubted(self, why: str) -> str:
        self._doubtful_ns = self._monotonic_ns()
        return why


def _day(t_ns: int) -> str:
    return rfc3339(max(0, t_ns))[:10]
