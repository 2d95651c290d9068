"""Bytes and arrival times in, messages out: no port, no waiting."""

from hard_formats.framing import FRAMINGS
from hard_serial.device import Device
from tests.imus import frame

S = 10**9
AHEAD = 1_700_000_000 * S


def device(fmt="wt901", ahead_ns=lambda: AHEAD):
    framing = FRAMINGS[fmt]()
    return Device(framing, framing.declared, "imu", ahead_ns)


def sent(device, numbers, t0_ns=0, fmt="wt901", rate_hz=100):
    """Feed one reading at a time, on time; return the messages."""
    messages = []
    for k in numbers:
        data = frame(fmt, k, (0, 0, 1), (0, 0, k % 90))
        messages.append(device.feed(data, t0_ns + k * S // rate_hz))
    return [message for message in messages if message]


def test_every_reading_leaves_once_with_both_its_sensors():
    messages = sent(device(), range(1000))
    turned = [round(float(v)) for _, gyro in messages for v in gyro.values[:, 2]]
    assert turned == [k % 90 for k in range(len(turned))]
    assert len(turned) > 970
    assert all(accel.t.tolist() == gyro.t.tolist() for accel, gyro in messages)


def test_the_first_second_is_held_back_and_then_leaves_whole():
    first = sent(device(), range(300))[0]
    assert len(first[0]) == 101
    assert first[0].t_received_ns == AHEAD + S


def test_a_step_of_the_wall_clock_does_not_tear_the_stream():
    ahead = [AHEAD]
    one = device(ahead_ns=lambda: ahead[-1])
    before = sent(one, range(500))
    ahead.append(AHEAD + 3600 * S)
    after = sent(one, range(500, 1000))
    assert 0 < after[0][0].t[0] - before[-1][0].t[-1] < S


def test_a_clock_that_could_not_be_believed_is_left_once_it_was_set():
    ahead = [AHEAD]
    one = device(ahead_ns=lambda: ahead[-1])
    before = sent(one, range(500))
    ahead.append(AHEAD + 3600 * S)
    one.ask_wall()
    after = sent(one, range(500, 1000))
    assert 3600 * S < after[0][0].t[0] - before[-1][0].t[-1] < 3601 * S
    assert one.counts["restarted"] == 0


def test_after_a_stall_the_wall_clock_is_asked_again():
    ahead = [AHEAD]
    one = device(ahead_ns=lambda: ahead[-1])
    before = sent(one, range(500))
    ahead.append(AHEAD + 3600 * S)
    after = sent(one, range(500, 1000), t0_ns=5 * S)
    assert one.counts["restarted"] == 1
    last = [message for message in after if message[0].t[0] > before[-1][0].t[-1] + S]
    assert 3600 * S < last[0][0].t[0] - before[-1][0].t[-1] < 3606 * S


def test_readings_whose_time_can_not_be_known_are_counted():
    one = device()
    sent(one, range(50))
    messages = sent(one, range(50, 500), t0_ns=3 * S)
    assert one.counts["restarted"] == 1
    assert one.counts["unstamped"] > 0
    assert sum(len(m[0]) for m in messages) + one.counts["unstamped"] > 470


def test_bytes_without_a_reading_for_long_make_no_sense():
    one = device()
    for tenth in range(101):
        assert one.is_intelligible
        one.feed(b"\x80\xf8" * 50, tenth * S // 10)
    assert not one.is_intelligible


def test_one_reading_makes_sense_of_a_device_again():
    one = device()
    one.feed(b"\x80" * 50, 0)
    sent(one, range(1, 3))
    one.feed(b"\x80" * 50, 11 * S)
    assert one.is_intelligible


def test_a_device_without_a_gyroscope_has_one_batch():
    (accel,) = sent(device("uart_rvc"), range(200), fmt="uart_rvc")[0]
    assert accel.sensor == "accel"
