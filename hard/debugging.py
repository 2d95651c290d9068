"""Windows as they were judged, on their way to the sinks that show them (`debug`).

Written by the thread of the pipeline, read by those of the sinks.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

__all__ = ["Judged", "WindowBoard"]

KEPT_WINDOWS = 1000


class Judged(Protocol):
    """How a window was judged: `hard.decision.Explained`."""

    def payload(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...


class WindowBoard:
    """The newest windows, for any number of readers; who comes too late has missed some.

    Nothing is kept until somebody has asked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: deque[Judged] = deque(maxlen=KEPT_WINDOWS)
        self._put = 0
        self._asked = False

    def put(self, window: Judged) -> None:
        """Add the window judged last."""
        if self._asked:
            with self._lock:
                self._windows.append(window)
                self._put += 1

    def since(self, number: int) -> tuple[int, list[Judged]]:
        """Return how many windows there were, and those behind the first `number`, in order."""
        with self._lock:
            self._asked = True
            behind = min(self._put - number, len(self._windows))
            return self._put, list(self._windows)[len(self._windows) - behind :]
