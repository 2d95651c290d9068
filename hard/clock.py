"""Another machine's clock (time since boot, or since its session began) mapped to the epoch.

Pure, in data time, called by conditioning before anything else looks at the stamps.  A message
can't arrive before its newest sample was taken: the smallest `t_received_ns - newest stamp` of
late is the offset, an estimate that errs by the smallest delay of the way.  It follows drift by
forgetting what is older than 30 s, and is slewed, so that mapped stamps keep their order.  Stamps
that fall back, or run ahead of their arrival, are a clock that started anew.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hard.api import NS_PER_S

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hard.api import SampleBatch

__all__ = ["DeviceClock"]

_HOLD_NS = 2 * NS_PER_S
"""So long the first messages wait for a small delay to be seen."""
_BUCKET_NS = 5 * NS_PER_S
_BUCKETS = 6
_SLEW = 0.01
"""The offset moves by at most this share of the time that passes."""
_STEP_NS = NS_PER_S
"""An offset off by more is set at once: the host's clock was."""
_BACK_NS = 5 * NS_PER_S
"""Messages may swap places by less; stamps further back are of a clock that began anew."""
_AHEAD_NS = NS_PER_S
_CONFLICT_RESTARTS, _CONFLICT_NS = 3, 60 * NS_PER_S


class DeviceClock:
    """The state of one stream; counts restarts and steps in `counts`."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._restarts: deque[int] = deque(maxlen=_CONFLICT_RESTARTS)  # when, by arrival
        self._received = 0
        self._start()

    def _start(self) -> None:
        self._held: list[Sequence[SampleBatch]] | None = []
        self._first_received: int | None = None
        self._newest = 0  # device time
        self._offset = 0  # ns to add to device time, valid once nothing is held
        self._least: deque[tuple[int, int]] = deque(maxlen=_BUCKETS)  # (bucket, smallest delay)

    @property
    def conflict(self) -> bool:
        """Whether the clock starts anew so often that it must be two of them, interleaved."""
        return (
            len(self._restarts) == _CONFLICT_RESTARTS
            and self._received - self._restarts[0] < _CONFLICT_NS
        )

    def feed(self, message: Sequence[SampleBatch]) -> list[Sequence[SampleBatch]]:
        """Take what arrived together; return the messages that are ready, stamps since the epoch.

        Batches of an epoch clock pass as they are.
        """
        newest, received = -1, -1
        for batch in message:
            if _is_device(batch):
                assert batch.t_received_ns is not None
                newest = max(newest, int(batch.t.max()))
                received = max(received, batch.t_received_ns)
        if received < 0:
            return [message]
        ready = self._restarted(newest, received)
        self._received = max(self._received, received)
        self._note(received, received - newest)
        if self._held is None:
            ready.append(self._mapped(message, newest))
            return ready
        self._held.append(message)
        if self._first_received is None:
            self._first_received = received
        if received - self._first_received >= _HOLD_NS:
            ready += self.drain()
        return ready

    def drain(self) -> list[Sequence[SampleBatch]]:
        """Return what is held, mapped by the smallest delay seen so far."""
        held = self._held
        if not held:
            return []
        self._held = None
        self._offset = self._smallest()
        self._newest = max(int(b.t.max()) for message in held for b in message if _is_device(b))
        return [self._mapped(message, self._newest) for message in held]

    def _restarted(self, newest: int, received: int) -> list[Sequence[SampleBatch]]:
        """Begin anew where the stamps are another clock's; return what was held until then."""
        if not self._least:
            return []
        back = newest < self._newest - _BACK_NS
        ahead = received - newest < self._smallest() - _AHEAD_NS
        if not (back or ahead):
            return []
        ready = self.drain()
        self._counts["clock_restart"] += 1
        self._restarts.append(received)
        self._start()
        return ready

    def _note(self, received: int, delay: int) -> None:
        bucket = received // _BUCKET_NS
        if self._least and self._least[-1][0] >= bucket:
            bucket, least = self._least.pop()
            delay = min(delay, least)
        self._least.append((bucket, delay))
        while self._least[0][0] <= bucket - _BUCKETS:
            self._least.popleft()

    def _smallest(self) -> int:
        return min(delay for _, delay in self._least)

    def _mapped(self, message: Sequence[SampleBatch], newest: int) -> Sequence[SampleBatch]:
        """Map one message, moving the offset towards the smallest delay over its length."""
        begin, old = self._newest, self._offset
        passed = max(newest - begin, 0)
        change = self._smallest() - old
        if abs(change) > _STEP_NS:
            self._counts["clock_step"] += 1
            old += change
            change = 0
        change = int(np.clip(change, -int(passed * _SLEW), int(passed * _SLEW)))
        self._newest, self._offset = begin + passed, old + change
        return [
            replace(
                batch,
                t=_shifted(batch.t, begin, passed, old, change),
                declared=replace(batch.declared, clock="epoch"),
            )
            if _is_device(batch)
            else batch
            for batch in message
        ]


def _is_device(batch: SampleBatch) -> bool:
    return batch.declared.clock == "device" and batch.t_received_ns is not None and len(batch.t) > 0


def _shifted(
    t: NDArray[np.int64], begin: int, passed: int, offset: int, change: int
) -> NDArray[np.int64]:
    """Add to `t` an offset that changes by `change` over the `passed` ns from `begin` on."""
    if not change:
        return t + offset
    share = np.clip((t - begin) / passed, 0.0, 1.0)
    shifted: NDArray[np.int64] = t + offset + np.rint(share * change).astype(np.int64)
    return shifted
