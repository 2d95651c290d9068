"""IMUs on pseudo terminals: real ttys, unplugged by closing their other end."""

import queue

import pytest

from tests.imus import Imu
from tests.running import Running


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


class Wired(Running):
    """A source in a thread of its own, and the device that it reads."""

    def __init__(self, source, imu):
        super().__init__(source)
        self.imu = imu

    def next(self, patience=500):
        """Let the device send until the source emits."""
        for _ in range(patience):
            self.imu.catch_up()
            try:
                return super().next(0.02)
            except queue.Empty:
                assert self.runs, self.failure
        raise AssertionError("nothing was emitted")


@pytest.fixture
def start(running):
    return lambda source, imu: running(source, Wired, imu=imu)
