"""A serial IMU is pulled out and put in again, or sends nonsense: it is read again."""

import os
import threading
import time

import pytest

from tests.faults.installation import wait_for
from tests.faults.test_broker import caught_up, ended, made
from tests.faults.verifier import account
from tests.imus import Imu, frame

SERIAL = """
[sources.imu]
plugin = "serial"
port = "{path}"
format = "wt901"
"""
HALF = frame("wt901", 1, (0, 0, 1), (0, 0, 1))[:7]


class Plug:
    """Where an IMU sends at its rate, from a thread, while it is plugged in."""

    def __init__(self, path):
        self.path, self._imu = path, None
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self):
        while not self._end.wait(0.02):
            with self._lock:
                if self._imu is not None:
                    self._imu.catch_up()

    def plug(self):
        with self._lock:
            self._imu = Imu(self.path)

    def unplug(self):
        with self._lock:
            self._imu.unplug()
            self._imu = None

    def write(self, data):
        with self._lock:
            self._imu.write(data)

    def close(self):
        self._end.set()
        self._thread.join()
        if self._imu is not None:
            self._imu.unplug()


@pytest.fixture
def plug(tmp_path):
    plug = Plug(tmp_path / "imu")
    plug.plug()
    yield plug
    plug.close()


def heard(daemon):
    """Tell whether the IMU's stream was heard within the last half second."""
    ages = [s["age_s"] for s in daemon.status()["streams"] if s["stream"].startswith("imu")]
    return bool(ages) and ages[0] is not None and ages[0] < 0.5


def counted(daemon, what):
    return daemon.status()["counts"].get(f"imu.{what}", 0)


def outages(daemon):
    return counted(daemon, "outages")


@pytest.mark.fast_fault("F19")
def test_an_imu_that_is_unplugged_or_sends_garbage_is_read_again_without_a_spin(
    plug, verifier, install, tell
):
    daemon = install(streams=2, extra=SERIAL.format(path=plug.path)).start()
    made(daemon, 10)
    wait_for(lambda: heard(daemon), 10, daemon)
    slowest_s = 0.0
    for n in range(1, 3):
        before = outages(daemon)
        plug.unplug()
        wait_for(lambda before=before: outages(daemon) > before, 5, daemon)
        plug.plug()
        began_s = time.monotonic()
        wait_for(lambda n=n: daemon.said().count("imu: back") == n, 5, daemon)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    for _ in range(20):
        plug.write(os.urandom(300) + HALF)
    wait_for(lambda: counted(daemon, "noise_bytes") > 4000, 5, daemon)
    wait_for(lambda: heard(daemon), 5, daemon)
    noise = counted(daemon, "noise_bytes")
    assert outages(daemon) == 2
    made(daemon, 10)
    caught_up(daemon, verifier, 20)
    ended(daemon)
    told = f"2 outages, read again after {slowest_s:.1f} s at most"
    tell(f"{account(daemon.events, verifier)}; {told}; {noise} bytes of garbage")
