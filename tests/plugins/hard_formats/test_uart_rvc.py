"""BNO08x UART-RVC: numbered frames without a gyroscope."""

import numpy as np

from hard_formats.uart_rvc import UartRvc
from tests.imus import frame, numbered


def test_acceleration_is_in_milli_g_and_there_is_no_gyroscope():
    readings = UartRvc().feed(frame("uart_rvc", 7, (-1.5, 0.001, 1), (0, 0, 0)))
    assert np.allclose(readings.accel, [[-1.5, 0.001, 1]])
    assert readings.gyro is None
    assert set(UartRvc.declared) == {"accel"}


def test_lost_frames_leave_their_numbers_out():
    frames, _ = numbered("uart_rvc", 600)
    del frames[300:400], frames[10]
    framing = UartRvc()
    index = np.concatenate([framing.feed(f).index for f in frames])
    expected = [k for k in range(600) if k != 10 and not 300 <= k < 400]
    assert index.tolist() == expected
    assert framing.counts == {"lost_frames": 101}


def test_a_repeated_number_still_rises():
    one = frame("uart_rvc", 9, (0, 0, 1), (0, 0, 0))
    assert UartRvc().feed(one * 3).index.tolist() == [0, 256, 512]
