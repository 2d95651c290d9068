"""IMUs on pseudo terminals: real ttys, unplugged by closing their other end."""

import queue
import threading

import pytest

from hard.api import SourceUnavailable
from tests.imus import Imu


@pytest.fixture
def plug(tmp_path):
    """Return what plugs an IMU in, always into the same place."""
    imus = []

    def plug(fmt="wt901", rate_hz=100.0):
        imus.append(Imu(tmp_path / "imu", fmt, rate_hz))
        return imus[-1]

    yield plug
    for imu in imus:
        imu.unplug()


class Running:
    """A source in a thread of its own, and the device that it reads."""

    def __init__(self, source, imu):
        self.source, self.imu, self.failure = source, imu, None
        self.emitted, self._stop = queue.SimpleQueue(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.source.run(self.emitted.put, self._stop)
        except SourceUnavailable as failure:
            self.failure = failure

    def next(self, patience=500):
        """Let the device send until the source emits."""
        for _ in range(patience):
            self.imu.catch_up()
            try:
                return self.emitted.get(timeout=0.02)
            except queue.Empty:
                assert self._thread.is_alive(), self.failure
        raise AssertionError("nothing was emitted")

    def ended(self, timeout_s=5.0):
        self._thread.join(timeout_s)
        assert not self._thread.is_alive()
        return str(self.failure)

    def stop(self):
        self._stop.set()
        self._thread.join()


@pytest.fixture
def start():
    runs = []

    def start(source, imu):
        runs.append(Running(source, imu))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()
