"""Run a coroutine in the source's own thread until it ends or the source is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hard.api import Stop

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
