"""Late, duplicate, disordered and jumping stamps: what settles, what is counted, what it costs."""

import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S
from hard.ordering import MAX_GAP_NS, MAX_PENDING_SAMPLES, Orderer, Samples
from tests.hard.signals import T0_NS, cuts, seeds, uniform

pytestmark = pytest.mark.fast_fault("F16")
STEP_NS = NS_PER_S // 50
DROPPED = ("late", "duplicate", "outlier", "flood")


def samples(t, *, sensor="accel", message_id=-1, x=None):
    t = np.asarray(t, np.int64)
    x = np.stack([t % 9973, t % 997, t % 97], axis=1) if x is None else x
    return Samples(sensor, t, np.asarray(x, np.float64), message_id)


class Run:
    """What an orderer made of messages."""

    def __init__(self, messages, max_delay_s=0.0):
        self.counts = Counter()
        self.orderer = Orderer(self.counts)
        self.segments = [[]]
        for message in messages:
            for settled in self.orderer.feed(message, int(max_delay_s * NS_PER_S)):
                self.take(settled)
        self.orderer.drop_held()
        self.take(self.orderer.flush())

    def take(self, settled):
        for part in settled.samples:
            assert (part.t < settled.until + MAX_GAP_NS).all()
        self.segments[-1] += settled.samples
        if settled.ends_segment:
            self.segments.append([])

    def result(self, sensor="accel"):
        """Return (t, x) per segment that has any."""
        found = []
        for segment in self.segments:
            parts = [s for s in segment if s.sensor == sensor]
            if parts:
                t, x = (np.concatenate([getattr(s, name) for s in parts]) for name in ("t", "x"))
                assert (np.diff(t) > 0).all()
                found.append((t, x))
        return found

    def dropped(self):
        return {reason: self.counts[reason] for reason in DROPPED if self.counts[reason]}

    def out(self):
        return sum(len(s.t) for segment in self.segments for s in segment)


def one(t, **options):
    """Return the stamps that settle of one message, in one segment."""
    run = Run([[samples(t)]], **options)
    (result,) = run.result()
    return result[0], run


def same(a, b):
    left, right = a.result(), b.result()
    return len(left) == len(right) and all(
        np.array_equal(t, u) and np.array_equal(x, y)
        for (t, x), (u, y) in zip(left, right, strict=True)
    )


@st.composite
def arrivals(draw):
    """Draw stamps in order of arrival: steps forward and back, repeats, gaps, jumps, strays."""
    small = [0, 1, STEP_NS, STEP_NS, STEP_NS, STEP_NS, -STEP_NS, 3 * STEP_NS, NS_PER_S]
    large = [x * NS_PER_S for x in (9, -9, 10, 40, -40, 3600)]
    steps = st.sampled_from([*small, *large])
    # Stretches of even steps between the odd ones, so that jumps can be confirmed.
    parts = draw(st.lists(st.tuples(steps, st.integers(0, 70)), min_size=1, max_size=7))
    deltas = np.concatenate([np.r_[step, np.full(n, STEP_NS)] for step, n in parts])
    return T0_NS + np.cumsum(deltas)


# -- one clock ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(data=st.data(), t=arrivals(), seed=seeds)
def test_any_cut_into_messages_settles_the_same(data, t, seed):
    x = np.random.default_rng(seed).integers(0, 2, (len(t), 3))
    at = data.draw(cuts(len(t)))
    whole = Run([[samples(t, x=x)]])
    parts = Run([[samples(t[a:b], x=x[a:b])] for a, b in pairwise(at)])
    singles = Run([[samples(t[i : i + 1], x=x[i : i + 1])] for i in range(len(t))])
    assert same(whole, parts)
    assert same(whole, singles)
    assert whole.dropped() == parts.dropped() == singles.dropped()
    assert whole.counts["jump"] == parts.counts["jump"] == singles.counts["jump"]


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(),
    t=arrivals(),
    max_delay_s=st.sampled_from([0.0, 0.5, 3.0]),
    numbered=st.booleans(),
)
def test_every_sample_comes_out_or_is_counted(data, t, max_delay_s, numbered):
    at = data.draw(cuts(len(t)))
    order = data.draw(st.permutations(list(pairwise(at))))
    sensors = data.draw(st.lists(st.sampled_from(["accel", "gyro"]), min_size=2, max_size=2))
    run = Run(
        [
            [samples(t[a:b], sensor=s, message_id=n if numbered else -1) for s in sensors]
            for n, (a, b) in enumerate(order)
        ],
        max_delay_s=max_delay_s,
    )
    assert run.out() + sum(run.dropped().values()) == 2 * len(t)
    run.result("accel")
    run.result("gyro")


@settings(deadline=None, max_examples=60)
@given(data=st.data(), numbered=st.booleans(), first=st.integers(0, 1000))
def test_swapped_and_repeated_messages_within_the_delay_settle_as_in_order(data, numbered, first):
    t = uniform(10 * 15, rate_hz=10)
    parts = [
        [
            samples(t[a : a + 10], sensor=sensor, message_id=first + i if numbered else -1)
            for sensor in ("accel", "gyro")
        ]
        for i, a in enumerate(range(0, len(t), 10))
    ]
    # A message may arrive behind one that began up to two seconds later.
    lag = data.draw(st.lists(st.integers(0, 2), min_size=len(parts), max_size=len(parts)))
    order = sorted(range(len(parts)), key=lambda i: (i + lag[i], -i))
    twice = data.draw(st.lists(st.sampled_from(order), max_size=6))
    arrived = [parts[i] for i in order]
    for i in twice:
        at = arrived.index(parts[i]) + 1
        arrived.insert(data.draw(st.integers(at, min(at + 6, len(arrived)))), parts[i])
    run = Run(arrived, max_delay_s=3)
    for sensor in ("accel", "gyro"):
        ((settled, x),) = run.result(sensor)
        assert np.array_equal(settled, t)
        assert np.array_equal(x, samples(t).x)
    dropped = run.dropped()
    assert dropped.pop("late", 0) + dropped.pop("duplicate", 0) == 20 * len(twice)
    assert not dropped


def test_numbers_make_samples_final_at_once():
    t = uniform(50 * 20)

    def behind_s(message_ids):
        orderer = Orderer(Counter())
        for i, message_id in enumerate(message_ids):
            part = samples(t[50 * i : 50 * i + 50], message_id=message_id)
            for settled in orderer.feed([part], 3 * NS_PER_S):
                until = settled.until
        return (int(t[50 * len(message_ids) - 1]) - until) / NS_PER_S

    assert behind_s([-1] * 20) == 3
    assert behind_s(range(20)) == 0
    assert behind_s([*range(10), *range(11, 21)]) == 3  # one is missing
    assert behind_s([*range(500, 510), *range(10)]) == 0  # the sender restarted


def test_a_lost_message_costs_the_delay_for_a_while_only():
    orderer = Orderer(Counter())
    lags = []
    for i in range(120):
        part = samples(uniform(50, start_ns=T0_NS + i * NS_PER_S), message_id=i + (i > 9))
        for settled in orderer.feed([part], 3 * NS_PER_S):
            until = settled.until
        lags.append(int(part.t[-1]) - until)
    assert lags[20] == 3 * NS_PER_S
    assert lags[-1] == 0


def test_a_late_number_does_not_pass_for_a_restart():
    t = uniform(50 * 20)
    parts = [samples(t[a : a + 50], message_id=a // 50) for a in range(0, len(t), 50)]
    run = Run([[p] for p in [*parts[:12], parts[4], *parts[12:]]], max_delay_s=3)
    assert np.array_equal(run.result()[0][0], t)
    assert run.dropped() == {"late": 50}


def test_a_message_may_be_as_long_as_a_recording():
    t = uniform(400_000)
    settled, run = one(t, max_delay_s=3)
    assert np.array_equal(settled, t)
    assert not run.dropped()


def test_messages_of_one_sample_leave_in_pieces_of_a_tenth_of_a_second():
    t = uniform(500)
    orderer = Orderer(Counter())
    pieces = [p for at in t for p in orderer.feed([samples(np.array([at]))], 0)]
    assert 90 <= len(pieces) <= 101
    left = [s.t for piece in [*pieces, orderer.flush()] for s in piece.samples]
    assert np.array_equal(np.concatenate(left), t)


# -- stamps that repeat ------------------------------------------------------------------------


def test_the_same_stamp_with_the_same_values_is_a_duplicate():
    t = np.repeat(uniform(10), 2)
    settled, run = one(t)
    assert np.array_equal(settled, uniform(10))
    assert run.dropped() == {"duplicate": 10}


def test_the_same_stamp_with_other_values_is_spread_up_to_the_next():
    t = np.repeat(uniform(3), [1, 4, 1])
    x = np.arange(18).reshape(6, 3)
    (settled, values), *_ = Run([[samples(t, x=x)]]).result()
    assert np.diff(settled).tolist() == [STEP_NS] + [STEP_NS // 4] * 4
    assert np.array_equal(values, x)


@pytest.mark.parametrize("following", [[], [T0_NS + 5 * NS_PER_S]])
def test_repeated_stamps_before_a_gap_are_spread_as_those_before(following):
    t = np.array([*uniform(3), *[T0_NS + 3 * STEP_NS] * 2, *following])
    x = np.arange(3 * len(t)).reshape(-1, 3)
    (settled, _), *_ = Run([[samples(t, x=x)]]).result()
    assert np.diff(settled)[:4].tolist() == [STEP_NS] * 3 + [STEP_NS // 2]


def test_what_can_not_be_spread_apart_is_dropped_and_counted():
    t = np.r_[T0_NS, np.repeat(T0_NS + STEP_NS, 10), T0_NS + STEP_NS + 3, T0_NS + 2 * STEP_NS]
    x = np.arange(39).reshape(13, 3)
    run = Run([[samples(t, x=x)]])
    ((settled, _),) = run.result()
    assert np.array_equal(settled, uniform(3))
    assert run.dropped() == {"flood": 10}


def test_a_flood_is_thinned_to_what_a_sensor_may_send():
    t = T0_NS + np.arange(100_000) * 1000
    settled, run = one(t)
    assert np.array_equal(settled, t[::100])
    assert run.dropped() == {"flood": 99_000}


def test_after_silence_samples_follow_those_that_were_spread():
    orderer = Orderer(Counter())
    t = np.r_[uniform(3), np.repeat(T0_NS + 3 * STEP_NS, 5)]
    x = np.arange(24).reshape(8, 3)
    first = [s for settled in orderer.feed([samples(t, x=x)], 0) for s in settled.samples]
    first += orderer.drain().samples
    more = samples(T0_NS + 3 * STEP_NS + np.arange(1, 100) * (STEP_NS // 10))
    last = [s for settled in orderer.feed([more], 0) for s in settled.samples]
    assert (np.diff(np.concatenate([s.t for s in first + last])) > 0).all()


# -- stamps that can't be right ----------------------------------------------------------------


def test_stamps_behind_the_watermark_are_dropped_and_counted():
    t = uniform(500)
    t[300:310] -= 4 * NS_PER_S
    settled, run = one(t, max_delay_s=3)
    assert len(settled) == 490
    assert run.dropped() == {"late": 10}


@pytest.mark.parametrize("away_s", [11, 86_400, 10**9, -11, -86_400])
@pytest.mark.parametrize("max_delay_s", [0, 3])
@pytest.mark.parametrize("numbered", [False, True])
def test_a_lone_stamp_far_off_is_dropped_and_counted(away_s, max_delay_s, numbered):
    t = uniform(1000)
    stray = t.copy()
    stray[525] += away_s * NS_PER_S
    run = Run(
        [
            [samples(stray[a : a + 50], message_id=a // 50 if numbered else -1)]
            for a in range(0, 1000, 50)
        ],
        max_delay_s=max_delay_s,
    )
    ((settled, _),) = run.result()
    assert np.array_equal(settled, np.delete(t, 525))
    assert run.dropped() == {"outlier": 1}


def test_a_stray_stamp_of_one_sensor_costs_nothing_of_the_others_or_its_own():
    t = uniform(500)
    gyro = t.copy()
    gyro[100] += 1000 * NS_PER_S
    run = Run([[samples(t), samples(gyro, sensor="gyro")]])
    assert len(run.result("accel")[0][0]) == 500
    assert len(run.result("gyro")[0][0]) == 499


@pytest.mark.parametrize("away_s", [11, 3600, -30, -3600])
@pytest.mark.parametrize("cut", [True, False])
def test_a_second_of_samples_elsewhere_is_a_jump_and_a_new_segment(away_s, cut):
    t = uniform(1000)
    t[420:] += away_s * NS_PER_S
    pairs = pairwise(range(0, 1001, 50)) if cut else [(0, 1000)]
    run = Run([[samples(t[a:b]), samples(t[a:b], sensor="gyro")] for a, b in pairs])
    for sensor in ("accel", "gyro"):
        assert [len(segment[0]) for segment in run.result(sensor)] == [420, 580]
    assert not run.dropped()
    assert run.counts["jump"] == 1


def test_less_than_a_second_elsewhere_is_no_jump():
    t = uniform(1000)
    t[500:550] += 3600 * NS_PER_S
    _, run = one(t)
    assert run.dropped() == {"outlier": 50}
    assert run.counts["jump"] == 0


def test_an_old_numbered_message_is_late_and_no_clock_set_back():
    t = uniform(50 * 60)
    parts = [samples(t[a : a + 50], message_id=a // 50) for a in range(0, len(t), 50)]
    again = [[p] for p in parts[5:8]]
    run = Run([[p] for p in parts] + again + [[samples(t[-1] + t[1:51] - T0_NS)]], max_delay_s=3)
    assert run.dropped() == {"late": 150}
    assert run.counts["jump"] == 0


def test_a_first_stamp_far_off_is_a_segment_of_its_own():
    t = np.r_[1000, uniform(500)]
    run = Run([[samples(t[:1])], [samples(t[1:])]])
    assert [len(segment[0]) for segment in run.result()] == [1, 500]


# -- hostile clocks: bounded, and linear in time -----------------------------------------------


def hostile(kind, n):
    """Return n stamps in order of arrival."""
    i = np.arange(n)
    return {
        "stuck": np.full(n, T0_NS),
        "stuck far off": np.where(i < 50, T0_NS + i * STEP_NS, T0_NS + 1000 * NS_PER_S),
        "jumps there and back": T0_NS + (i % 2) * 3600 * NS_PER_S + i,
        "confirmed jumps": T0_NS + (i // 2) * 3600 * NS_PER_S + (i % 2) * NS_PER_S,
        "ever faster": T0_NS + np.minimum(i.astype(float) ** 2.5 * 1e9, 7e18).astype(np.int64),
        "backwards": T0_NS - i * 9 * NS_PER_S,
        "backwards slowly": T0_NS - i,
        "random": T0_NS + np.random.default_rng(0).integers(0, 10**18, n),
        "random within reach": T0_NS + np.random.default_rng(0).integers(0, 10**10, n),
    }[kind]


KINDS = [
    "stuck",
    "stuck far off",
    "jumps there and back",
    "confirmed jumps",
    "ever faster",
    "backwards",
    "backwards slowly",
    "random",
    "random within reach",
]


def cost_s(kind, n, size, max_delay_s, numbered=False):
    t = hostile(kind, n)
    x = np.random.default_rng(0).normal(size=(n, 3))
    parts = [
        [samples(t[a : a + size], x=x[a : a + size], message_id=a if numbered else -1)]
        for a in range(0, n, size)
    ]
    began_s = time.process_time()
    run = Run(parts, max_delay_s)
    spent_s = time.process_time() - began_s
    assert run.out() + sum(run.dropped().values()) == n
    run.result()
    return spent_s


@pytest.mark.native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "max_delay_s", "numbered"), [(1, 3, True), (50, 0, False), (6000, 3, False)]
)
def test_a_hostile_clock_costs_under_a_millisecond_a_sample(kind, size, max_delay_s, numbered):
    n = 6000 if size > 1 else 1500
    assert cost_s(kind, n, size, max_delay_s, numbered=numbered) < n / 1000


@pytest.mark.parametrize(
    "kind", ["stuck", "stuck far off", "backwards slowly", "random within reach"]
)
@pytest.mark.parametrize("max_delay_s", [0, 60])
def test_a_hostile_clock_holds_a_bounded_number_of_samples(kind, max_delay_s):
    t = hostile(kind, 200_000)
    orderer = Orderer(Counter())
    x = np.random.default_rng(0).normal(size=(1000, 3))
    most = 0
    for a in range(0, len(t), 1000):
        list(orderer.feed([samples(t[a : a + 1000], x=x)], max_delay_s * NS_PER_S))
        waiting = sum(queue.waiting for queue in orderer._queues.values())
        most = max(most, waiting + sum(held.samples for held in orderer._held.values()))
    assert most <= MAX_PENDING_SAMPLES + 1000
