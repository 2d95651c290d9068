"""What the daemon tells of itself in figures: what it did, how far behind it is, what it takes.

Plain numbers that one thread writes and others read, without locks.  The pipeline counts `Work`,
`hard.runtime` keeps the `LogAges`; who shows them is `hard.monitoring`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LogAges", "Work", "resident_bytes"]

MAX_MARKS = 2_048


@dataclass(slots=True)
class Work:
    """What a pipeline has done: windows classified, seconds it took, gaps in what came.

    `clock` gives seconds; without one nothing is timed.
    """

    clock: Callable[[], float] = lambda: 0.0
    windows: int = 0
    inference_s: float = 0.0
    gaps: int = 0


class LogAges:
    """Since when the log has held what a reader has not had yet, to about a second.

    `note` is called from one thread, `age_s` from any.  All times are monotonic.  Of what is older
    than the first note it is known only that it is.
    """

    def __init__(self) -> None:
        self._marks: tuple[tuple[int, float], ...] = ()  # the newest number, when it was noted

    def note(self, newest: int, now_s: float) -> None:
        """Take note of the newest number in the log."""
        marks = self._marks
        if marks and marks[-1][0] >= newest:
            return
        if len(marks) >= MAX_MARKS:  # the older ones become coarser, an age may be told too low
            marks = marks[: MAX_MARKS // 2 : 2] + marks[MAX_MARKS // 2 :]
        self._marks = (*marks, (newest, now_s))

    def age_s(self, position: int, now_s: float) -> float:
        """Return the age of the first event behind `position`, 0 where there is none."""
        marks = self._marks
        at = bisect_right(marks, position, key=lambda mark: mark[0])
        return max(0.0, now_s - marks[at][1]) if at < len(marks) else 0.0


def resident_bytes() -> int:
    """Return the memory that this process has in RAM now."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
