"""What each stream is now, as the sinks are shown it and `hard status` tells it.

Written by the thread of the pipeline, read by those of the sinks and of the control socket.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from hard.inbox import MAX_STREAMS

if TYPE_CHECKING:
    from hard.api import StreamState

__all__ = ["StateBoard"]

CONFIDENCE_STEP = 0.1
CONFIDENCE_S = 10.0


class StateBoard:
    """What each stream is now, for any number of readers that come when they like.

    A state that differs in its confidence, probabilities or data time only is no change: sinks
    are told of changes, not of every window.  A confidence that has moved by a tenth is one, every
    10 s at most: right after a change of activity it is low.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, tuple[int, StreamState]] = OrderedDict()
        self._gone: OrderedDict[str, int] = OrderedDict()  # at which version
        self._told: dict[str, tuple[float, float]] = {}  # confidence, and when (monotonic)
        self._version = 0

    def __len__(self) -> int:
        """Return the number of streams known."""
        return len(self._states)

    def streams(self) -> list[str]:
        """Return the streams known, the longest unchanged first."""
        with self._lock:
            return list(self._states)

    def show(self, stream: str, state: StreamState | None) -> None:
        """Replace what is known of a stream; None: it made room for others."""
        with self._lock:
            version, old = self._states.get(stream, (0, None))
            if state is None:
                self._told.pop(stream, None)
                if self._states.pop(stream, None) is not None:
                    self._version += 1
                    self._gone[stream] = self._version
                    if len(self._gone) > MAX_STREAMS:
                        self._gone.popitem(last=False)
            elif old is not None and not self._is_news(old, state):
                self._states[stream] = (version, state)  # for those who come later
            else:
                self._version += 1
                self._gone.pop(stream, None)
                self._states[stream] = (self._version, state)
                self._told[stream] = (state.confidence or 0.0, time.monotonic())
                self._states.move_to_end(stream)
                if len(self._states) > MAX_STREAMS:
                    del self._told[self._states.popitem(last=False)[0]]

    def since(self, version: int) -> tuple[int, list[StreamState]]:
        """Return the present version and the states changed after `version`, oldest first."""
        with self._lock:
            changed: list[StreamState] = []
            for at, state in reversed(self._states.values()):
                if at <= version:
                    break
                changed.append(state)
            return self._version, changed[::-1]

    def gone_since(self, version: int) -> list[str]:
        """Return the streams that made room after `version` and have not come back."""
        with self._lock:
            return [stream for stream, at in self._gone.items() if at > version]

    def forget(self, stream: str) -> None:
        """Know nothing of a stream any more, not even that it was there."""
        with self._lock:
            self._states.pop(stream, None)
            self._told.pop(stream, None)
            self._gone.pop(stream, None)

    def _is_news(self, old: StreamState, state: StreamState) -> bool:
        if _essence(old) != _essence(state):
            return True
        confidence, at_s = self._told[state.stream]
        moved = abs((state.confidence or 0.0) - confidence) >= CONFIDENCE_STEP
        return moved and time.monotonic() >= at_s + CONFIDENCE_S


def _essence(state: StreamState) -> StreamState:
    return replace(state, t=0, confidence=None, probs={})
