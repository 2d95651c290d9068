"""A source that runs as under the runtime, and a peer that runs as a program: for tests only."""

import queue
import subprocess
import sys
import threading
from contextlib import contextmanager

from hard.api import SourceUnavailable


class Running:
    """A source in a thread of its own; `next` is what it emitted."""

    def __init__(self, source):
        self.source, self.failure = source, None
        self._emitted, self._stop = queue.SimpleQueue(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.source.run(self._emitted.put, self._stop)
        except SourceUnavailable as failure:
            self.failure = failure

    @property
    def runs(self):
        return self._thread.is_alive()

    def next(self, timeout_s=10.0):
        return self._emitted.get(timeout=timeout_s)

    def nothing_more(self):
        return self._emitted.empty()

    def ended(self, timeout_s=10.0):
        """Wait until `run` ends of itself; return why."""
        self._thread.join(timeout_s)
        assert not self.runs
        return str(self.failure)

    def stop(self):
        self._stop.set()
        self._thread.join()


@contextmanager
def program(module):
    """Run a test module as a program that prints its port and ends with its input; give the port.

    Its files and threads are not those of the test, which may count its own.
    """
    command = [sys.executable, module.__file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        yield int(process.stdout.readline())
        process.stdin.close()
