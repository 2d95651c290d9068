"""What each stream is now, as the sinks are shown it and `hard status` tells it.

Written by the thread of the pipeline, read by those of the sinks and of the control socket.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from hard.inbox import MAX_STREAMS

if TYPE_CHECKING:
    from hard.api import StreamState

__all__ = ["StateBoard"]


class StateBoard:
    """What each stream is now, for any number of readers that come when they like.

    A state that differs in its confidence, probabilities or data time only is no change: sinks
    are told of changes, not of every window.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, tuple[int, StreamState]] = OrderedDict()
        self._gone: OrderedDict[str, int] = OrderedDict()  # at which version
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
                if self._states.pop(stream, None) is not None:
                    self._version += 1
                    self._gone[stream] = self._version
                    if len(self._gone) > MAX_STREAMS:
                        self._gone.popitem(last=False)
            elif old is not None and _essence(old) == _essence(state):
                self._states[stream] = (version, state)  # for those who come later
            else:
                self._version += 1
                self._gone.pop(stream, None)
                self._states[stream] = (self._version, state)
                self._states.move_to_end(stream)
                if len(self._states) > MAX_STREAMS:
                    self._states.popitem(last=False)

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
            self._gone.pop(stream, None)


def _essence(state: StreamState) -> StreamState:
    return replace(state, t=0, confidence=None, probs={})
