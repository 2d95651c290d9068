"""What serial IMUs wrote, in files."""

import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hard.api import UnusableInput
from tests.plugins.hard_file.reading import Read, write


def frame(kind, values):
    body = struct.pack("<BB4h", 0x55, kind, *values, 0)
    return body + bytes([sum(body) & 0xFF])


def reading(k=0):
    return frame(0x51, (k % 100, 0, 2048)) + frame(0x52, (0, 0, 16)) + frame(0x53, (1, 2, 3))


DUMP = b"".join(map(reading, range(400)))


def read(folder, data, **options):
    return Read(write(folder, {"dump.bin": data}) / "dump.bin", **options)


def test_binary_frames_are_recognised_and_stand_at_their_rate(tmp_path):
    found = read(tmp_path, DUMP, rate_hz=50)
    assert (found.info.format, found.info.clock) == ("wt901", "relative")
    assert found.t() == found.t("gyro") == [k * 20_000_000 for k in range(400)]
    assert found.values()[0] == [0, 0, 1]
    assert {s: d.unit for s, d in found.info.declared.items()} == {"accel": "g", "gyro": "deg/s"}
    assert "50 Hz (configured)" in found.info.reason
    assert read(tmp_path, DUMP, rate_hz=50, platform="ios").info.sign == -1


def test_without_a_rate_it_is_refused(tmp_path):
    with pytest.raises(UnusableInput, match="no stamps; give the device's rate as rate_hz"):
        read(tmp_path, DUMP)


def test_noise_between_frames_is_counted_and_the_rest_kept(tmp_path):
    found = read(tmp_path, DUMP[:3300] + b"\x00" * 70 + DUMP[3300:], rate_hz=100)
    assert len(found.t()) == 400
    assert found.skipped["noise_bytes"] == 70


def test_lines_of_text_are_read_when_their_format_is_named(tmp_path):
    data = b"boot v1.2\r\n" + b"0.25,0.5,1.0\r\n" * 50
    found = read(tmp_path, data, format="text", rate_hz=25, accel_unit="g")
    assert found.info.declared["accel"].unit == "g"
    assert found.info.sensors[0] == "accel"
    assert len(found.t()) >= 47
    assert set(map(tuple, found.values())) == {(0.25, 0.5, 1.0)}


def test_a_dump_without_one_frame_is_refused(tmp_path):
    with pytest.raises(UnusableInput, match="not one usable row"):
        read(tmp_path, b"\x00\xff" * 5000, format="wt901", rate_hz=50)


@given(st.binary(max_size=300), st.integers(0, len(DUMP)))
@example(b"[", 0)
@example(b"{", 0)
def test_arbitrary_bytes_raise_nothing_but_unusable_input(tmp_path_factory, noise, at):
    data = DUMP[:at] + noise + DUMP[at:]
    assume(not data.startswith(b"PK"))  # a zip, and a damaged one
    found = read(tmp_path_factory.mktemp("any"), data, rate_hz=50)
    assert len(found.t()) >= 396
