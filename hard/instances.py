"""The sources and sinks of one daemon, each in its thread; some may be exchanged while others run.

Not their supervision (that is `hard.runtime`, which makes this) and not their life between two
errors (`hard.threads`).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hard.api import Sink, Source
    from hard.threads import SinkThread, SourceThread

__all__ = ["Instances"]

LEAVING_S = 10.0
"""A plugin that is exchanged has so long to end."""
DRAINING_S = 2.0
"""So much of it a sink may take to deliver the rest."""

_log = logging.getLogger(__name__)


class Instances:
    """What runs now, as tuples that any thread may read.

    `run_source` and `run_sink` make a thread of an instance; `left` is told of each sink that went
    for good.  `exchange` is called from one thread, never the one that ends all (`settle`).
    """

    def __init__(
        self,
        run_source: Callable[[Source[Any]], SourceThread],
        run_sink: Callable[[Sink[Any]], SinkThread],
        left: Callable[[str], None],
    ) -> None:
        self.sources: tuple[SourceThread, ...] = ()
        self.sinks: tuple[SinkThread, ...] = ()
        self.is_changing = False
        self._run_source, self._run_sink, self._left = run_source, run_sink, left
        self._lock = threading.Lock()
        self._is_settled = False

    def add(self, sources: Iterable[Source[Any]], sinks: Iterable[Sink[Any]]) -> None:
        """Take in instances, which the caller starts."""
        self.sources += tuple(map(self._run_source, sources))
        self.sinks += tuple(map(self._run_sink, sinks))

    def settle(self) -> None:
        """Exchange nothing more: the end has come."""
        with self._lock:
            self._is_settled = True

    def exchange(
        self, sources: Mapping[str, Source[Any] | None], sinks: Mapping[str, Sink[Any] | None]
    ) -> list[str]:
        """Stop what runs under these names, then start what is given for them (None: nothing).

        Returns a sentence for each sink that can't be exchanged, as the old one hangs.
        """
        self.is_changing = True
        try:
            hang = self._stop(sources, sinks)
            for source in sources.values():
                if source is not None:
                    self._start(source=source)
            for name, sink in sinks.items():
                if sink is None and name not in hang:
                    self._left(name)
                elif sink is not None and name not in hang:
                    self._start(sink=sink)
        finally:
            self.is_changing = False
        return [f"sink {name}: hangs and stays as it is: restart the daemon" for name in hang]

    def _stop(self, sources: Iterable[str], sinks: Iterable[str]) -> list[str]:
        """Stop and leave out what runs under these names; return the sinks that hang."""
        old_sources = [thread for thread in self.sources if thread.name in sources]
        old_sinks = [thread for thread in self.sinks if thread.name in sinks]
        for source in old_sources:
            source.stop()
        for sink in old_sinks:
            sink.finish(DRAINING_S)
        for source in old_sources:
            if not source.join(LEAVING_S):
                _log.error(
                    "%s: hangs and is left behind: what it still sends is ignored", source.name
                )
                source.abandon()
        ended = [thread for thread in old_sinks if thread.join(LEAVING_S)]
        with self._lock:
            self.sources = tuple(t for t in self.sources if t not in old_sources)
            self.sinks = tuple(t for t in self.sinks if t not in ended)
        return [thread.name for thread in old_sinks if thread not in ended]

    def _start(self, *, source: Source[Any] | None = None, sink: Sink[Any] | None = None) -> None:
        with self._lock:
            if self._is_settled:
                return
            if source is not None:
                self.sources += (self._run_source(source),)
                self.sources[-1].start()
            if sink is not None:
                self.sinks += (self._run_sink(sink),)
                self.sinks[-1].start()
