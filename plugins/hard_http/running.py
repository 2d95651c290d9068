"""Run a coroutine in the source's own thread until it ends or the source is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from threading import Event, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hard.api import Emit, Message, Stop

_STOP_POLL_S = 0.1


def run_until(stop: Stop, work: Coroutine[None, None, None]) -> None:
    """Run `work` and raise what it raises; cancel it within 0.1 s of `stop`."""
    asyncio.run(_until(stop, work))


async def _until(stop: Stop, work: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(work)
    while not (stop.is_set() or task.done()):
        await asyncio.wait({task}, timeout=_STOP_POLL_S)
    task.cancel()  # does nothing to one that is done
    with contextlib.suppress(asyncio.CancelledError):
        await task


def first_message(run: Callable[[Emit, Stop], None], timeout_s: float) -> Message | None:
    """Run a source for a probe: return the first message it emits within `timeout_s`, if any."""
    seen: list[Message] = []
    stop = Event()

    def emit(message: Message) -> None:
        seen.append(message)
        stop.set()

    timer = Timer(timeout_s, stop.set)
    timer.start()
    try:
        run(emit, stop)
    finally:
        timer.cancel()
        timer.join()
    return seen[0] if seen else None
