"""VectorNav's text: its checksum and its frame."""

import numpy as np
import pytest

from hard_formats.vectornav import VectorNav
from tests.imus import frame, vector

ONE = frame("vectornav", 0, (0.1, -0.2, -0.99), (1, 2, 3))


def fed(data):
    framing = VectorNav()
    return framing.feed(b"\r\n" + data), framing.counts


def test_it_is_in_si_units_and_its_frame_is_right_handed():
    readings, _ = fed(ONE)
    assert np.allclose(readings.accel, np.multiply([[0.1, -0.2, -0.99]], 9.80665), atol=1e-4)
    assert np.allclose(readings.gyro, np.radians([[1, 2, 3]]), atol=1e-4)
    assert (VectorNav.declared["accel"].unit, VectorNav.declared["accel"].sign) == ("m/s2", 1)
    assert VectorNav.declared["gyro"].unit == "rad/s"


@pytest.mark.parametrize("at", [10, 40, 70, len(ONE) - 3])
def test_a_wrong_checksum_is_counted_and_left_out(at):
    wrong = ONE[:at] + bytes([ONE[at] ^ 1]) + ONE[at + 1 :]
    readings, counts = fed(wrong)
    assert len(readings) == 0
    assert counts == {"bad_sum": 1}


def test_other_messages_are_passed_over():
    readings, counts = fed(vector("VNYPR,+010.1,-000.2,+000.3") + ONE)
    assert len(readings) == 1
    assert not counts


def test_a_message_behind_a_lost_end_of_line_is_found():
    readings, counts = fed(ONE[:30] + ONE)
    assert len(readings) == 1
    assert not counts


@pytest.mark.parametrize("body", ["VNIMU,1,2,3", "VNIMU,1,2,3,4,5,nan,7,8,9,10,11", "VNIMU"])
def test_a_message_of_another_form_is_a_bad_line(body):
    readings, counts = fed(vector(body))
    assert len(readings) == 0
    assert counts == {"bad_line": 1}
