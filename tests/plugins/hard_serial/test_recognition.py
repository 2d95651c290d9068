"""What speaks on a port, and what `hard doctor` says of one."""

import threading

import pytest

from hard_serial import SerialSource
from hard_serial.recognition import recognise
from tests.imus import FORMATS


def while_sending(imu, call):
    """Return what `call` returns while the device sends."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    while thread.is_alive():
        if imu is not None:
            imu.catch_up()
        thread.join(0.02)
    return results[0]


def probed(imu, fmt, timeout_s=0.5):
    source = SerialSource("imu", SerialSource.Config(port=imu.path, format=fmt))
    return while_sending(imu, lambda: list(source.probe(timeout_s)))


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_device_is_recognised_and_its_settings_work(plug, start, fmt):
    imu = plug(fmt)
    found = while_sending(imu, lambda: recognise(imu.path, 1.0, "USB 1A86:7523"))
    settings = dict(found.settings)
    assert (settings.pop("plugin"), settings["format"]) == ("serial", fmt)
    assert fmt in found.detail
    assert "USB 1A86:7523" in found.detail
    assert start(SerialSource("imu", SerialSource.Config(**settings)), imu).next()


def test_a_silent_port_and_an_unknown_tongue_are_named(plug):
    imu = plug(rate_hz=0)
    silent = recognise(imu.path, 0.3, "USB 1A86:7523")
    assert silent.detail.startswith("silent: wake the device")
    assert "USB 1A86:7523" in silent.detail
    assert silent.settings == {}

    class Chatterbox:
        def catch_up(self):
            imu.write(b"hello world\n")

    found = while_sending(Chatterbox(), lambda: recognise(imu.path, 0.5))
    assert found.detail.startswith("speaks nothing known: set its format")
    assert found.settings == {}


def test_a_port_that_can_not_be_opened_says_why(tmp_path):
    found = recognise(str(tmp_path / "none"), 1.0)
    assert "No such file" in found.detail
    assert (found.address, found.settings) == (str(tmp_path / "none"), {})


def test_scanning_raises_nothing_whatever_there_is():
    for found in SerialSource.scan(0.5):
        assert found.address.startswith("/dev/")


def test_a_working_device_passes_every_stage(plug):
    stages = probed(plug(), "wt901")
    assert [stage.name for stage in stages] == ["port", "open", "bytes", "frames", "rate"]
    assert all(stage.ok for stage in stages)


def test_a_slow_device_fails_at_its_rate_with_the_remedy(plug):
    *others, rate = probed(plug(rate_hz=10), "wt901", 1.0)
    assert all(stage.ok for stage in others)
    assert rate.ok is False
    assert "20" in rate.remedy


@pytest.mark.fast_fault("F19")
def test_the_wrong_format_fails_at_the_frames(plug):
    frames = probed(plug("text"), "wt901")[-1]
    assert (frames.name, frames.ok) == ("frames", False)
    assert "format and baud" in frames.remedy


def test_a_silent_device_fails_at_the_bytes(plug):
    silent = probed(plug(rate_hz=0), "wt901", 0.2)[-1]
    assert (silent.name, silent.ok) == ("bytes", False)


def test_a_missing_port_fails_first(tmp_path):
    source = SerialSource("imu", SerialSource.Config(port=str(tmp_path / "no"), format="text"))
    (*_, last) = source.probe(0.1)
    assert last.ok is False
    assert last.remedy
