"""WitMotion's frames: which belong together, and what their counts are."""

import numpy as np
import pytest

from hard_formats.witmotion import Wt901, Wt901Ble
from tests.imus import frame, wit

ACCEL, GYRO, ANGLE = (bytes([k, 0, 0, 8, 0, 16]) for k in (1, 2, 3))


def test_counts_become_g_and_degrees_per_second():
    for framing in (Wt901(), Wt901Ble()):
        fmt = type(framing).__name__.lower()
        readings = framing.feed(frame(fmt, 0, (-16, 1, 15.5), (-2000, 250, 0)) * 2)
        assert readings.accel[0].tolist() == [-16, 1, 15.5]
        assert readings.gyro[0].tolist() == [-2000, 250, 0]
        assert framing.declared["accel"].unit == "g"
        assert framing.declared["gyro"].unit == "deg/s"


def test_a_reading_needs_both_its_frames():
    framing = Wt901()
    alone = wit(0x51, ACCEL) + wit(0x53, ANGLE) + wit(0x52, GYRO) + wit(0x53, ANGLE)
    assert len(framing.feed(alone)) == 0
    assert len(framing.feed(wit(0x51, ACCEL) + wit(0x52, GYRO))) == 1
    assert not framing.counts


def test_the_frames_of_two_readings_are_never_joined():
    accel, gyro = wit(0x51, ACCEL), wit(0x52, GYRO)
    torn = accel + gyro[:4] + accel[5:] + gyro  # the second half of one, the first of the next
    framing = Wt901()
    assert len(framing.feed(torn)) == 0
    assert framing.counts == {"bad_sum": 1, "noise_bytes": 10}


def test_a_header_inside_the_data_is_data():
    inside = b"\x55\x51\x55\x52\x55\x51"
    framing = Wt901()
    readings = framing.feed((wit(0x51, inside) + wit(0x52, inside)) * 3)
    assert len(readings) == 3
    assert not framing.counts


def test_a_wrong_sum_costs_one_byte_and_not_the_frame_behind_it():
    good = wit(0x51, ACCEL) + wit(0x52, GYRO)
    framing = Wt901()
    framing.feed(good)
    assert len(framing.feed(b"\x55\x51" + good)) == 1
    assert framing.counts == {"bad_sum": 1, "noise_bytes": 2}


def test_without_a_checksum_a_header_alone_is_no_frame():
    framing = Wt901Ble()
    one = frame("wt901ble", 0, (0, 0, 1), (0, 0, 0))
    fake = b"\x55\x61" + bytes(5)
    assert len(framing.feed(fake + one)) == 0
    assert len(framing.feed(one)) == 2


@pytest.mark.recordings
def test_a_real_dump_has_exactly_its_readings_at_rest(recordings):
    framing = Wt901()
    readings = framing.feed((recordings / "samples/wt901-binary.bin").read_bytes())
    assert len(readings) == 2017
    assert not framing.counts
    norm_m_s2 = np.linalg.norm(readings.accel, axis=1) * 9.80665
    assert np.median(norm_m_s2) == pytest.approx(9.8, rel=0.05)
    assert np.abs(readings.gyro).max() < 300
