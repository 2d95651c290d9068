"""The recovered clock of a device whose true times are known."""

import numpy as np
import pytest

from hard_serial.clock import DeviceClock

T0 = 10**15  # ns; a machine that has been up for eleven days


def taken(seconds, rate_hz, ppm=0.0, wander_ppm=0.0):
    """Return when each reading was really taken: a crystal that is off, and wanders with warmth."""
    k = np.arange(round(seconds * rate_hz))
    t_s = k / rate_hz * (1 + ppm * 1e-6)
    turn = 2 * np.pi / 600
    return (T0 + 1e9 * (t_s + wander_ppm * 1e-6 / turn * np.sin(turn * t_s))).astype(np.int64)


def usb(t, rng):
    """A USB adapter sends what it has every 16 ms."""
    phase = rng.uniform(0, 16e6)
    sent = np.ceil((t + 3e5 - phase) / 16e6) * 16e6 + phase
    return (sent + rng.exponential(2e5, len(t))).astype(np.int64)


def bluetooth(t, rng):
    """A radio sends every 100 ms, up to 40 ms late."""
    slot = np.ceil((t - T0) / 100e6).astype(np.int64)
    late = rng.uniform(0, 40e6, slot.max() + 1)
    return (T0 + slot * 100e6 + late[slot]).astype(np.int64)


def wire(t, rng):
    """A UART, read by a process that sometimes waits for the processor."""
    waits = (rng.random(len(t)) < 0.01) * rng.exponential(30e6, len(t))
    return (t + 2e6 + rng.exponential(3e5, len(t)) + waits).astype(np.int64)


def stamped(clock, index, arrived):
    """Feed what arrives together at once; return index and t of all that was stamped."""
    arrived = np.maximum.accumulate(arrived)
    reads = np.split(np.arange(len(index)), np.flatnonzero(np.diff(arrived) > 3e5) + 1)
    parts = [clock.feed(index[read], int(arrived[read[-1]])) for read in reads]
    return np.concatenate([p.index for p in parts]), np.concatenate([p.t for p in parts])


def run(link, t, index=None, seed=1):
    index = np.arange(len(t)) if index is None else index
    clock = DeviceClock()
    return clock, *stamped(clock, index, link(t, np.random.default_rng(seed)))


def unevenness_ms(index, t):
    """Return the rms distance of each 5 s of stamps from the straight line through them."""
    per_5_s = round(5e9 / np.median(np.diff(t)))
    worst = 0.0
    for i in range(0, len(t) - per_5_s + 1, per_5_s):
        x, y = (index - index[i])[i : i + per_5_s], (t - t[i])[i : i + per_5_s] / 1e6
        worst = max(worst, float(np.std(y - np.polyval(np.polyfit(x, y, 1), x))))
    return worst


links = pytest.mark.parametrize("link", [usb, bluetooth, wire])
rates = pytest.mark.parametrize("rate_hz", [25, 50, 100, 200])
drifts = pytest.mark.parametrize("ppm", [-200, 0, 200])


@links
@rates
@drifts
def test_stamps_are_even_though_readings_arrive_in_bursts(link, rate_hz, ppm):
    t = taken(60, rate_hz, ppm)
    clock, index, got = run(link, t)
    settled_s, most_ms = (10, 1.0) if link is bluetooth else (5, 0.6)
    later = index > settled_s * rate_hz
    assert unevenness_ms(index[later], got[later]) < most_ms
    assert (np.diff(got) > 0).all()
    assert clock.restarts == 0
    assert clock.rate_hz == pytest.approx(rate_hz / (1 + ppm * 1e-6), rel=3e-4)


@rates
@drifts
def test_a_stamp_is_within_a_few_ms_of_the_truth(rate_hz, ppm):
    t = taken(60, rate_hz, ppm)
    for link, least_ms, most_ms in ((usb, -5.0, 16.0), (wire, 1.5, 3.0)):
        _, index, got = run(link, t)
        later = index > 5 * rate_hz
        late_ms = (got - t[index])[later] / 1e6
        assert late_ms.min() > least_ms
        assert late_ms.max() < most_ms


def test_a_wandering_crystal_is_followed():
    t = taken(300, 100, wander_ppm=100)
    _, index, got = run(wire, t)
    late_ms = (got - t[index])[index > 1000] / 1e6
    assert np.ptp(late_ms) < 1.0


@links
def test_every_reading_is_stamped_once_and_in_order(link):
    t = taken(20, 100)
    _, index, got = run(link, t)
    assert index.tolist() == list(range(len(index)))
    assert len(t) - len(index) <= 40  # the rest waits for the next release
    assert len(got) == len(index)


def test_readings_are_held_back_until_the_rate_is_known():
    clock = DeviceClock()
    t = taken(1.5, 100)
    first = next(k for k in range(150) if len(clock.feed(np.array([k]), int(t[k])).t))
    assert t[first] - t[0] == pytest.approx(1e9, abs=2e7)
    assert clock.rate_hz == pytest.approx(100, rel=1e-3)


def test_cutting_a_burst_into_reads_changes_little():
    t = taken(20, 100)
    arrived = usb(t, np.random.default_rng(2))
    singly, whole = DeviceClock(), DeviceClock()
    parts = [singly.feed(np.array([k]), int(arrived[k])) for k in range(len(t))]
    one = np.concatenate([part.t for part in parts])
    _, other = stamped(whole, np.arange(len(t)), arrived)
    n = min(len(one), len(other))
    assert np.abs(one[:n] - other[:n])[200:].max() < 2e6


@links
def test_a_stall_is_a_gap_and_a_new_start(link):
    t = taken(30, 100)
    t[1500:] += 5 * 10**9
    clock, index, got = run(link, t)
    assert clock.restarts == 1
    before, after = got[index < 1500], got[index >= 1500]
    assert after[0] - before[-1] == pytest.approx(5e9, abs=60e6)
    assert np.abs(got - t[index]).max() < 25e6


@pytest.mark.parametrize("new_hz", [20, 50, 200])
def test_another_rate_is_a_new_start(new_hz):
    first, then = taken(20, 100), taken(20, new_hz)
    t = np.concatenate([first, then - T0 + first[-1] + 10_000_000])
    clock, index, got = run(wire, t)
    assert clock.restarts >= 1
    assert clock.rate_hz == pytest.approx(new_hz, rel=1e-3)
    assert (np.diff(got) > 0).all()
    late_ms = np.abs(got - t[index])[index > 2000 + 3 * new_hz] / 1e6
    assert late_ms.max() < 5


def test_readings_lost_without_a_number_are_noticed():
    t = np.delete(taken(60, 100), [3000, 3001])
    clock, index, got = run(wire, t)
    late_ms = (got - t[index]) / 1e6
    assert clock.restarts == 0
    assert late_ms[2990] == pytest.approx(2, abs=0.5)
    assert late_ms[3050] == pytest.approx(-18, abs=1)  # two periods early: not known yet
    assert late_ms[index > 3800].min() > -0.5


@links
def test_lost_readings_that_have_numbers_leave_the_stamps_alone(link):
    t = taken(30, 100)
    kept = np.delete(np.arange(len(t)), np.r_[1000:1150, 2000])
    clock, index, got = run(link, t[kept], index=kept)
    assert clock.restarts == 0
    assert unevenness_ms(index[index > 500], got[index > 500]) < 0.5


def test_a_stall_before_the_rate_is_known_is_a_new_start():
    t = taken(10, 100)
    t[50:] += 3 * 10**9
    clock, index, got = run(wire, t)
    assert clock.restarts == 1
    assert np.abs(got - t[index]).max() < 10e6
    assert index[0] >= 50


@pytest.mark.parametrize("rate_hz", [1, 2, 10])
def test_a_slow_device_is_stamped_too(rate_hz):
    t = taken(60, rate_hz)
    clock, index, got = run(wire, t)
    assert clock.restarts == 0
    assert clock.rate_hz == pytest.approx(rate_hz, rel=1e-2)
    assert np.abs(got - t[index]).max() < 40e6


def test_numbers_that_jump_do_not_move_the_stamps():
    index = np.r_[np.arange(2000), 2255 + np.arange(2000)]  # a device that was reset
    t = taken(40, 100)
    clock, got_index, got = run(wire, t, index=index)
    assert clock.restarts == 1
    late_ms = (got - t[np.searchsorted(index, got_index)]) / 1e6
    assert np.abs(late_ms).max() < 10
