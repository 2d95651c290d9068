"""Stamps since a device's boot become times since the epoch, though messages come late and swap."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S, Declared, SampleBatch
from hard.clock import DeviceClock

BOOT_NS = 1_700_000_000 * NS_PER_S
MS = NS_PER_S // 1000
DEVICE = Declared("m/s2", max_delay_s=3.0, clock="device")


def batch(t, received, declared=DEVICE):
    t = np.asarray(t, np.int64)
    return SampleBatch("x", "accel", t, np.zeros((len(t), 3), np.float32), declared, received)


def messages(seconds, delays_ms, *, ppm=0.0, each_ms=250, start_s=1000):
    """Return (true stamps, batch) of messages of 50 Hz samples, each delayed in its turn."""
    made = []
    for i in range(int(seconds * 1000 / each_ms)):
        true = BOOT_NS + (start_s * 1000 + i * each_ms + np.arange(0, each_ms, 20)) * MS
        device = ((true - BOOT_NS) * (1 + ppm * 1e-6)).astype(np.int64)
        delay = round(delays_ms[i % len(delays_ms)] * MS)
        made.append((true, batch(device, int(true[-1]) + delay)))
    return sorted(made, key=lambda pair: pair[1].t_received_ns)


def mapped(made, clock=None):
    """Feed all; return the mapped stamps in the order of the true ones."""
    clock = clock or DeviceClock(Counter())
    ready = [m for _, one in made for m in clock.feed([one])]
    ready += clock.drain()
    return np.concatenate([b.t for message in ready for b in message])


def errors_ms(made, **options):
    true = np.concatenate([true for true, _ in made])
    return (mapped(made, **options) - true) / MS


def test_the_smallest_delay_is_the_offset():
    error = errors_ms(messages(60, [80, 3, 150, 40]))
    assert np.abs(error - 3).max() < 0.001


@pytest.mark.parametrize("ppm", [-100, 100])
def test_it_follows_a_clock_that_drifts(ppm):
    error = errors_ms(messages(1800, [20, 2, 60], ppm=ppm))
    assert np.abs(error[-len(error) // 2 :]).max() < 6


def test_a_better_delay_found_later_moves_no_stamp_out_of_order():
    made = messages(120, [400] * 100 + [5] * 500)
    in_order = np.argsort(np.concatenate([true for true, _ in made]))
    assert (np.diff(mapped(made)[in_order]) > 0).all()
    assert abs(errors_ms(made)[-1]) < 6


def test_messages_that_swap_places_keep_their_own_times():
    error = errors_ms(messages(60, [20, 900, 20, 20]))
    assert np.abs(error - 20).max() < 0.001


def test_nothing_waits_for_longer_than_two_seconds():
    clock = DeviceClock(Counter())
    made = messages(10, [10])
    waited = [len(clock.feed([one])) for _, one in made]
    assert sum(waited[:8]) == 0
    assert waited[8] == 9
    assert set(waited[9:]) == {1}


def test_stamps_since_the_epoch_pass_untouched():
    message = [batch([BOOT_NS], BOOT_NS + 5, Declared("m/s2"))]
    assert DeviceClock(Counter()).feed(message) == [message]


def test_a_device_that_restarts_goes_on_at_its_true_time():
    counts = Counter()
    clock = DeviceClock(counts)
    before = messages(20, [10])
    true, ready = [t for t, _ in before], [m for _, one in before for m in clock.feed([one])]
    for i in range(80):  # rebooted 30 s later, stamps from 2 s on
        at = BOOT_NS + (1050 * 1000 + i * 250 + np.arange(0, 250, 20)) * MS
        true.append(at)
        ready += clock.feed([batch(at - at[0] + (2000 + i * 250) * MS, int(at[-1]) + 10 * MS)])
    stamps = np.concatenate([b.t for message in ready + clock.drain() for b in message])
    assert np.abs(stamps - np.concatenate(true) - 10 * MS).max() < MS
    assert counts["clock_restart"] == 1
    assert not clock.conflict


def test_a_backlog_that_arrives_late_keeps_its_times():
    made = messages(60, [10])
    late = [
        (t, batch(b.t, max(b.t_received_ns, BOOT_NS + 1040 * NS_PER_S))) if i >= 80 else (t, b)
        for i, (t, b) in enumerate(made)
    ]
    assert np.abs(errors_ms(late) - 10).max() < 0.1


def test_two_clocks_on_one_stream_are_a_conflict():
    clock = DeviceClock(Counter())
    for i in range(10):
        for boot_s in (1000, 90_000):
            clock.feed([batch([(boot_s + i) * NS_PER_S], BOOT_NS + i * NS_PER_S)])
    assert clock.conflict


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**62 - 1), st.integers(0, 2**62 - 1)), min_size=1, max_size=30
    )
)
def test_whatever_the_stamps_every_sample_leaves_once(pairs):
    clock = DeviceClock(Counter())
    ready = [m for t, received in pairs for m in clock.feed([batch([t], received)])]
    ready += clock.drain()
    assert len(ready) == len(pairs)
    assert all(b.declared.clock == "epoch" for message in ready for b in message)
