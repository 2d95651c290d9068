"""What the tests of both sources share: a running source, a free port."""

import queue
import socket
import threading

import pytest

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

    def next(self, timeout_s=10.0):
        return self._emitted.get(timeout=timeout_s)

    def nothing_more(self):
        return self._emitted.empty()

    def ended(self, timeout_s=10.0):
        """Wait until `run` ends of itself; return why."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive()
        return str(self.failure)

    def stop(self):
        self._stop.set()
        self._thread.join()


@pytest.fixture
def running():
    runs = []

    def start(source):
        runs.append(Running(source))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
