"""`SerialSource` on pseudo terminals."""

import os
import socket
import threading
import time

import numpy as np
import pytest
from pydantic import ValidationError

from hard.api import SourceUnavailable
from hard.testing import check_source
from hard_serial import SerialSource
from hard_serial.recognition import RESET_S
from tests.imus import FORMATS, G


def source_at(port, fmt="wt901", **config):
    config = {"port": str(port), "format": fmt} | config
    return SerialSource("imu", SerialSource.Config.model_validate(config))


def test_it_keeps_the_contract(plug):
    imu = plug()
    messages = check_source(lambda: source_at(imu.path), provoke=imu.catch_up)
    assert {batch.sensor for message in messages for batch in message} == {"accel", "gyro"}


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_format_arrives_in_its_own_units(plug, start, fmt):
    imu = plug(fmt)
    message = start(source_at(imu.path, fmt), imu).next()
    accel = message[0]
    resting = {"m/s2": G, "g": 1.0}[accel.declared.unit]
    assert np.allclose(accel.values, [0, 0, resting], atol=1e-3)
    if fmt == "uart_rvc":
        assert len(message) == 1
    else:
        gyro = message[1]
        turning = (
            np.diff(gyro.values[:, 2]) * {"deg/s": 1.0, "rad/s": 180 / np.pi}[gyro.declared.unit]
        )
        assert gyro.t is accel.t
        assert np.median(turning) == pytest.approx(1, abs=0.1)


def test_stamps_are_even_and_about_now(plug, start):
    imu = plug()
    run = start(source_at(imu.path), imu)
    messages = [run.next() for _ in range(8)]
    t = np.concatenate([message[0].t for message in messages])
    steps_ms = np.diff(t) / 1e6
    assert (steps_ms > 5).all()
    assert (steps_ms < 15).all()
    last = messages[-1][0]
    assert abs(time.time_ns() - int(last.t[-1])) < 2e9
    assert -1e9 < int(last.t[-1]) - last.t_received_ns < 5e7


def test_what_only_the_configuration_knows_is_declared(plug, start):
    imu = plug()
    config = {"stream": "left wrist", "rate_hz": 100.0, "sign": -1}
    accel, gyro = start(source_at(imu.path, **config), imu).next()
    assert (accel.declared.rate_hz, accel.declared.sign) == (100.0, -1)
    assert accel.declared.max_delay_s == 0
    assert accel.stream == gyro.stream != "left wrist"
    assert accel.stream.startswith("left_wrist_")


@pytest.mark.fast_fault("F19")
def test_unplugged_and_plugged_in_again_it_goes_on(plug, start):
    imu = plug()
    source = source_at(imu.path)
    run = start(source, imu)
    run.next()
    imu.unplug()
    assert "went away" in run.ended()
    again = start(source, plug())
    assert len(again.next()[0]) > 0


@pytest.mark.fast_fault("F19")
def test_a_missing_port_is_away_and_the_remedy_is_said(tmp_path):
    with pytest.raises(SourceUnavailable, match=r"No such file.*plug it in") as told:
        source_at(tmp_path / "none").run(print, threading.Event())
    assert told.value.again_within_s == 2.0, "a replug should be noticed soon"


def made(kind, path):
    """Make something that is no port at `path`, which ends as it is called; return it."""
    if kind == "a folder":
        path.mkdir()
    elif kind == "a file":
        path.write_bytes(b"")
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.symlink_to("/dev/null")
    return path


@pytest.mark.parametrize("kind", ["a folder", "a file", "a pipe", "a socket", "another device"])
def test_what_is_no_port_is_told_for_what_it_is(tmp_path, kind):
    path = made(kind, tmp_path / "imu")
    with pytest.raises(SourceUnavailable) as told:
        source_at(path).run(print, threading.Event())
    assert f"cannot open {path}: it is {kind}, no serial port" in str(told.value)
    assert "hard sources scan" in str(told.value)
    assert "unplug" not in str(told.value)


class Impatient(SerialSource):
    silent_after_s = 0.2


def said(caplog, reason):
    return [message for message in caplog.messages if f"counted as {reason}" in message]


def waited_for(condition, timeout_s=10.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.02)


@pytest.mark.fast_fault("F19")
def test_a_device_that_says_nothing_is_mentioned_once_with_what_to_check(plug, start, caplog):
    imu = plug(rate_hz=0)
    source = Impatient("imu", SerialSource.Config(port=imu.path, format="wt901"))
    start(source, imu)
    waited_for(lambda: source.counts["silent"] >= 2)
    (message,) = said(caplog, "silent")
    assert f"{imu.path}: opened at 115200 baud, but no byte came for 0.2 s" in message
    assert "TX" in message
    assert "baud" in message


def test_a_device_that_falls_silent_is_mentioned_and_goes_on(plug, start, caplog):
    imu = plug()
    source = Impatient("imu", SerialSource.Config(port=imu.path, format="wt901"))
    run = start(source, imu)
    run.next()
    assert not said(caplog, "silent")
    waited_for(lambda: source.counts["silent"])
    assert len(run.next()[0]) > 0
    assert len(said(caplog, "silent")) == 1


def test_the_default_patience_outlasts_the_boot_of_an_arduino():
    assert SerialSource.silent_after_s > RESET_S


def test_a_port_in_use_is_not_shared(plug, start):
    imu = plug()
    start(source_at(imu.path), imu).next()
    with pytest.raises(SourceUnavailable, match="another program has it"):
        source_at(imu.path).run(print, threading.Event())


def test_an_adapter_that_is_not_there_is_away():
    source = SerialSource("imu", SerialSource.Config(usb="fff1:fff2", format="text"))
    with pytest.raises(SourceUnavailable, match="no serial port with the USB id FFF1:FFF2"):
        source.run(print, threading.Event())


@pytest.mark.fast_fault("F19")
def test_noise_between_the_frames_is_counted_and_read_over(plug, start):
    imu = plug()
    run = start(source_at(imu.path), imu)
    run.next()
    imu.write(os.urandom(200))
    run.next()
    run.next()
    assert run.source.counts["noise_bytes"] >= 190


@pytest.mark.fast_fault("F19")
def test_a_device_that_prints_an_error_is_opened_anew(plug, start):
    imu = plug("text")
    run = start(source_at(imu.path, "text"), imu)
    run.next()
    imu.write(b"ERR: no IMU\n")
    assert "the device printed ERR" in run.ended()
    assert run.source.counts["device_error"] == 1


def test_it_reads_on_when_the_clock_was_set(plug, start):
    imu = plug()
    run = start(source_at(imu.path), imu)
    before = run.next()[0]
    run.source.clock_set()
    after = run.next()[0]
    assert 0 < after.t[0] - before.t[-1] < 10**9
    assert run.source.counts["restarted"] == 0


def test_it_stops_at_once_while_the_device_is_silent(plug, start):
    imu = plug()
    run = start(source_at(imu.path), imu)
    run.next()
    began_s = time.monotonic()
    run.stop()
    assert time.monotonic() - began_s < 0.5


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"format": "wt901"}, "either port, a path, or usb"),
        ({"format": "wt901", "port": "p", "usb": "1A86:7523"}, "either port, a path, or usb"),
        ({"format": "wt901", "usb": "ch340"}, "is no USB id"),
        ({"format": "csv", "port": "p"}, "format"),
        ({"format": "wt901", "port": "p", "accel_unit": "g"}, 'only for format = "text"'),
        ({"format": "text", "port": "p", "columns": ["ax", "ay", "az", "gx"]}, "columns"),
        ({"format": "text", "port": "p", "columns": ["ax", "ay", "ay"]}, "columns"),
        ({"format": "text", "port": "p", "accel_scale": 0.0}, "greater than 0"),
        ({"format": "text", "port": "p", "baud": "fast"}, "baud"),
    ],
)
def test_a_wrong_configuration_is_refused(config, complaint):
    with pytest.raises(ValidationError, match=complaint):
        SerialSource.Config.model_validate(config)
