"""Raw samples to the grid: units, sign, gaps, verdicts, and nothing that depends on batches."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, Declared, SampleBatch
from hard.conditioning import MAX_T_NS, MAX_VALUE, Conditioner, GridBlock, Verdict
from hard.windowing import Windower
from hard_simulator.model import Wearer, activities, simulate
from tests.hard.signals import (
    ACCEL_ONLY,
    INPUT,
    T0_NS,
    batches,
    cuts,
    messages,
    seconds,
    seeds,
    uniform,
    worn,
)

STEP_NS = INPUT.period_ns


class Run:
    """What conditioning made of messages: grid points as one array a segment, and verdicts."""

    def __init__(self, feed, wanted=INPUT, *, flush=True):
        self.counts = Counter()
        self.verdicts = []
        self.blocks = []
        conditioner = Conditioner(wanted, self.counts)
        self.windows = []
        windower = Windower(wanted)
        for message in feed:
            self._take(conditioner.feed(message), windower)
        if flush:
            self._take(conditioner.flush(), windower)

    def _take(self, items, windower):
        for item in items:
            if isinstance(item, Verdict):
                self.verdicts.append(item)
            elif isinstance(item, GridBlock):
                self.blocks.append(item)
                self.windows += windower.feed(item)

    @property
    def reasons(self):
        return [(v.status, (v.reason or "").split(":")[0]) for v in self.verdicts]

    def grid(self):
        """Return (t, values, valid, covered) of all blocks."""
        t = [(b.k0 + np.arange(len(b.values))) * STEP_NS for b in self.blocks]
        parts = [t, *([getattr(b, name) for b in self.blocks] for name in _FIELDS)]
        return tuple(np.concatenate(part) for part in parts)

    def signature(self):
        """Return all that decides what is classified."""
        windows = [
            (w.segment, int(start), float(coverage), values.tobytes(), int(run))
            for w in self.windows
            for start, coverage, values, run in zip(
                w.t_start, w.coverage, w.values, w.run_start, strict=True
            )
        ]
        return windows, self.verdicts, {k: n for k, n in self.counts.items() if n}


_FIELDS = ("values", "valid", "covered")


def accel_batch(t, x, unit="m/s2", sign=1, sensor="accel"):
    return SampleBatch("s", sensor, t, np.asarray(x, np.float32), Declared(unit, sign))


# -- the same whatever the messages ------------------------------------------------------------


@st.composite
def recordings(draw):
    """Draw a minute of two sensors with all that goes wrong with stamps."""
    rng = np.random.default_rng(draw(seeds))
    rate_hz = draw(st.sampled_from([20.0, 33.0, 50.0, 100.0, 200.0]))
    n = int(rate_hz * 45)
    t = uniform(n, rate_hz, T0_NS + draw(st.integers(0, NS_PER_S)))
    if jitter := draw(st.sampled_from([0.0, 0.3, 0.9])):
        t = np.sort(t + rng.integers(0, int(jitter * NS_PER_S / rate_hz), n))
    if draw(st.booleans()):
        t[5::11] = t[4:-1:11][: len(t[5::11])]
    keep = np.ones(n, bool)
    for length_s in draw(
        st.lists(st.sampled_from([0.05, 0.1, 0.19, 0.21, 0.3, 1.0, 3.0, 8.0]), max_size=5)
    ):
        at = int(rng.integers(0, n))
        keep[at : at + int(rate_hz * length_s)] = False
    if draw(st.booleans()):
        keep[n // 3 :][::3] = False  # another rate
        keep[n // 3 + 1 :][::3] = False
    t[n // 2 :] += draw(st.sampled_from([0, 0, 3600, -3600])) * NS_PER_S
    x = rng.normal(size=(n, 6)).astype(np.float32)
    x[:, 2] += 9.8
    return t[keep], x[keep]


@settings(deadline=None, max_examples=15)
@given(data=st.data(), recording=recordings())
def test_windows_do_not_depend_on_the_messages(data, recording):
    t, x = recording
    whole = Run([batches(t, x)]).signature()
    assert Run(messages(t, x, data.draw(cuts(len(t), 60)))).signature() == whole
    if len(t) < 1500:
        assert Run(messages(t, x, [*range(0, len(t), 7), len(t)])).signature() == whole


@settings(deadline=None, max_examples=15)
@given(seed=seeds, offset=st.integers(0, STEP_NS), rate_hz=st.sampled_from([50.0, 67.0, 104.0]))
def test_sensors_may_come_as_separate_batches_at_separate_times(seed, offset, rate_hz):
    n = int(10 * rate_hz)
    t, x = uniform(n, rate_hz), worn(n, seed)

    def message(pieces):
        return [
            batch
            for part in np.array_split(np.arange(n), pieces)
            for batch in (
                accel_batch(t[part], x[part, :3]),
                accel_batch(t[part] + offset, x[part, 3:], "rad/s", sensor="gyro"),
            )
        ]

    whole = Run([message(1)]).signature()
    assert whole[0]
    assert Run([message(7)]).signature() == whole
    assert Run([message(7)[::-1]]).signature()[1][0].status == "ok"


def test_another_start_gives_the_same_grid_values():
    t, x = uniform(2000, 67.0), worn(2000)
    later = 700
    whole = Run(seconds(t, x)).grid()
    part = Run(seconds(t[later:], x[later:])).grid()
    inside = (part[0] > t[later] + NS_PER_S) & (part[0] < t[-1] - NS_PER_S)
    chosen = np.searchsorted(whole[0], part[0][inside])
    assert inside.sum() > 500
    assert np.array_equal(whole[1][chosen], part[1][inside])


# -- values ------------------------------------------------------------------------------------


def test_samples_on_the_grid_come_out_unchanged():
    t, x = uniform(500), worn(500)
    grid_t, values, valid, covered = Run([batches(t, x)]).grid()
    assert np.array_equal(grid_t, t)
    assert np.array_equal(values, x)
    assert valid.all()
    assert covered.all()


@pytest.mark.parametrize("rate_hz", [25.0, 33.0, 67.0, 100.0, 200.0, 400.0])
def test_motion_within_the_band_survives_any_rate(rate_hz):
    n = int(12 * rate_hz)
    t = uniform(n, rate_hz, T0_NS + 1_234_567)

    def motion(at):
        angle = 2 * np.pi * 0.35 * min(rate_hz, 30.0) * ((at - T0_NS) / NS_PER_S)
        return np.stack([np.sin(angle), np.cos(angle), 9.8 + np.sin(angle)], axis=1)

    grid_t, values, valid, _ = Run(seconds(t, motion(t).astype(np.float32)), ACCEL_ONLY).grid()
    steady = valid & (grid_t > t[0] + NS_PER_S) & (grid_t < t[-1] - NS_PER_S)
    error = values[steady] - motion(grid_t[steady])
    assert float(np.sqrt(np.mean(error**2))) < 0.01


def test_linear_acceleration_and_gravity_make_the_total():
    t, x = uniform(500, 67.0), worn(500)[:, :3]
    gravity = np.tile(np.float32([0, 0, 9.8]), (500, 1))
    total = Run([[accel_batch(t, x)]], ACCEL_ONLY).grid()
    parts = [
        accel_batch(t, x - gravity, sensor="linear_accel"),
        accel_batch(t, gravity, sensor="gravity"),
    ]
    summed = Run([parts], ACCEL_ONLY)
    assert summed.reasons == [("ok", "")]
    assert np.abs(summed.grid()[1] - total[1]).max() < 5e-6


@pytest.mark.parametrize(
    ("unit", "sign", "factor"),
    [("g", 1, 1 / STANDARD_GRAVITY_M_S2), ("m/s2", -1, -1), ("g", -1, -1 / STANDARD_GRAVITY_M_S2)],
)
def test_accelerometer_units_and_sign_are_converted(unit, sign, factor):
    t, x = uniform(300), worn(300)[:, :3]
    batch = accel_batch(t, x * np.float32(factor), unit, sign)
    values = Run([[batch]], ACCEL_ONLY).grid()[1]
    assert np.abs(values - x).max() < 1e-5


def test_the_gyroscope_is_converted_and_keeps_its_sign():
    t, x = uniform(300), worn(300)
    accel, gyro = batches(t, x)
    turned = replace(accel, values=-accel.values, declared=Declared("m/s2", -1))
    degrees = replace(gyro, values=np.rad2deg(gyro.values), declared=Declared("deg/s", -1))
    assert np.abs(Run([[turned, degrees]]).grid()[1] - x).max() < 1e-5


@settings(deadline=None, max_examples=20)
@given(
    bad=st.sampled_from([np.nan, np.inf, -np.inf, 1e38, 2 * MAX_VALUE]),
    seed=seeds,
    share=st.sampled_from([0.001, 0.01, 0.3]),
)
def test_what_no_sensor_reads_never_comes_through(bad, seed, share):
    t, x = uniform(600), worn(600)
    wrong = np.random.default_rng(seed).random((600, 6)) < share
    x[wrong] = bad
    run = Run(seconds(t, x))
    if run.blocks:
        assert (np.abs(run.grid()[1]) < 100).all()
    rows = int(wrong[:, :3].any(axis=1).sum() + wrong[:, 3:].any(axis=1).sum())
    assert run.counts["not_finite"] + run.counts["out_of_range"] == rows


@pytest.mark.parametrize("t", [-1, -(2**63), MAX_T_NS + 1, 2**63 - 1])
def test_stamps_of_no_clock_are_dropped_and_counted(t):
    stamps = uniform(400)
    stamps[100:300] = t
    run = Run([batches(stamps, worn(400))])
    assert run.counts["out_of_range"] == 400
    Run([batches(np.full(400, t), worn(400))])


@pytest.mark.parametrize("message_id", [-5, 0, 2**63, 2**200, -(2**200)])
def test_any_message_number_will_do(message_id):
    t, x = uniform(500), worn(500)
    feed = seconds(t, x, max_delay_s=3.0, message_id=message_id)
    assert np.array_equal(Run(feed).grid()[1], x)


# -- gaps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("jitter", [0.3, 0.6, 1.0])
def test_stamps_that_jitter_cost_less_than_half_of_what_they_would(jitter):
    rng, rate_hz, n = np.random.default_rng(0), 67.0, 2000
    t = uniform(n, rate_hz)
    off_ns = rng.uniform(-jitter / 2, jitter / 2, n) * NS_PER_S / rate_hz

    def motion(at):
        return np.sin(2 * np.pi * 4.0 * (at - T0_NS) / NS_PER_S)

    x = worn(n) * 0 + np.float32([0, 0, 9.8, 0, 0, 0])
    x[:, 0] = motion(t)
    grid_t, values, valid, _ = Run([batches(t + off_ns.astype(np.int64), x)]).grid()
    inner = valid & (grid_t > t[50]) & (grid_t < t[-50])
    error = values[inner, 0] - motion(grid_t[inner])
    without = (motion(t + off_ns) - motion(t)).std()
    assert error.std() < without / 2


def test_a_lost_sample_among_jittering_stamps_moves_no_other():
    rng, n = np.random.default_rng(1), 1500
    t = uniform(n)
    jittered = t + (rng.uniform(-0.15, 0.15, n) * STEP_NS).astype(np.int64)
    x = np.tile(np.float32([0, 0, 9.8, 0, 0, 0]), (n, 1))
    x[:, 0] = np.linspace(-3, 3, n)  # a ramp: an error of time shows as one of value
    keep = np.arange(n) % 40 != 17
    grid_t, values, valid, _ = Run([batches(jittered[keep], x[keep])]).grid()
    inner = valid & (grid_t > t[50]) & (grid_t < t[-50])
    expected = np.interp(grid_t[inner], t, x[:, 0])
    assert np.abs(values[inner, 0] - expected).max() < 6 / n * 0.2


def test_a_short_gap_is_bridged_and_seen_as_coverage():
    t, x = uniform(1000), worn(1000)
    keep = np.ones(1000, bool)
    keep[500:509] = False
    _, values, valid, covered = Run(seconds(t[keep], x[keep])).grid()
    assert valid.all()
    assert np.flatnonzero(~covered).tolist() == list(range(501, 508))
    # Straight across, as the filter sees it.
    line = np.linspace(values[499], values[509], 11)[1:-1]
    assert np.abs(values[500:509] - line).max() < 0.5


def test_a_long_gap_ends_the_run():
    t, x = uniform(1000), worn(1000)
    keep = np.ones(1000, bool)
    keep[500:511] = False
    run = Run(seconds(t[keep], x[keep]))
    grid_t, values, valid, _ = run.grid()
    assert np.array_equal(grid_t, t)
    assert np.flatnonzero(~valid).tolist() == list(range(500, 511))
    assert np.array_equal(values[valid], x[keep])
    assert {b.segment for b in run.blocks} == {0}


def test_a_point_is_valid_only_where_every_sensor_is():
    t, x = uniform(1000), worn(1000)
    keep = np.ones(1000, bool)
    keep[500:600] = False
    accel, _ = batches(t, x)
    _, gyro = batches(t[keep], x[keep])
    _, _, valid, _ = Run([[accel, gyro]]).grid()
    assert np.array_equal(valid, keep)


def test_a_sensor_that_stops_ends_the_windows_and_not_the_time():
    t, x = uniform(1000), worn(1000)
    accel, gyro = batches(t, x)
    part = replace(gyro, t=t[:800], values=gyro.values[:800])
    conditioner = Conditioner(INPUT, Counter())
    blocks = [b for b in conditioner.feed([accel, part]) if isinstance(b, GridBlock)]
    assert sum(int(b.valid.sum()) for b in blocks) == 800
    assert conditioner.reached_ns > t[-1] - NS_PER_S


# -- the contract ------------------------------------------------------------------------------

GOOD = worn(500)


def wrong_signals():
    """Return the name, a message, and how its reason begins, of signals that can't be right."""
    t = uniform(500)
    accel, gyro = batches(t, GOOD)
    slow = batches(uniform(100, 10.0), GOOD[:100])
    unknown = replace(accel, declared=Declared("m/s2", None))
    in_g = replace(accel, values=accel.values / np.float32(9.80665))
    linear = GOOD[:, :3] - np.float32([0, 0, 9.8])
    return [
        ("g as m/s2", [in_g, gyro], "wrong unit"),
        ("m/s2 as g", [replace(accel, declared=Declared("g")), gyro], "wrong unit"),
        ("no gravity", [replace(accel, values=linear), gyro], "the resting norm is"),
        ("linear only", [replace(accel, sensor="linear_accel"), gyro], "gravity removed"),
        ("no gyro", [accel], "no gyroscope"),
        ("no accel", [gyro], "no accelerometer"),
        ("10 Hz", slow, "accel comes at 10.0 Hz, the model needs at least 20 Hz"),
        ("slow gyro", [accel, slow[1]], "gyro comes at 10.0 Hz"),
        ("unknown sign", [unknown, gyro], "sign unknown"),
    ]


WRONG = {name: (message, reason) for name, message, reason in wrong_signals()}


@pytest.mark.parametrize("name", WRONG)
def test_a_signal_that_can_not_be_right_is_rejected_with_its_reason(name):
    message, reason = WRONG[name]
    run = Run([message])
    assert [v.status for v in run.verdicts] == ["rejected"]
    assert run.verdicts[0].reason.startswith(reason)
    assert not run.blocks
    assert run.counts["rejected"] == sum(len(b) for b in message)


@pytest.mark.parametrize("name", WRONG)
def test_a_rejected_signal_recovers_when_it_becomes_right(name):
    message, _ = WRONG[name]
    t = uniform(1000, start_ns=int(max(b.t[-1] for b in message)) + STEP_NS)
    run = Run([message, *seconds(t, worn(1000, 1))])
    assert [v.status for v in run.verdicts] == ["rejected", "ok"]
    assert run.windows
    assert run.verdicts[1].t <= t[0] + 6 * NS_PER_S


IN_USE = [name for name in WRONG if name != "unknown sign"]


@pytest.mark.parametrize("name", IN_USE)
def test_a_signal_in_use_that_turns_wrong_is_rejected_within_nine_seconds(name):
    message, reason = WRONG[name]
    right = uniform(1000, start_ns=int(min(b.t[0] for b in message)) - 1000 * STEP_NS)
    lasting = [_repeated(batch, 3) for batch in message]
    run = Run([batches(right, worn(1000)), lasting])
    assert {v.status for v in run.verdicts[1:]} == {"rejected"}
    assert run.verdicts[0].status == "ok"
    assert run.verdicts[-1].reason.startswith(reason)
    assert run.verdicts[1].t <= lasting[0].t[0] + 9 * NS_PER_S
    assert all(b.k0 * STEP_NS < run.verdicts[1].t for b in run.blocks)
    assert run.counts["rejected"]


def _repeated(batch, n):
    """Return n times the batch in a row."""
    span = int(batch.t[-1] - batch.t[0] + batch.t[1] - batch.t[0])
    t = np.concatenate([batch.t + i * span for i in range(n)])
    return replace(batch, t=t, values=np.concatenate([batch.values] * n))


@settings(deadline=None, max_examples=10)
@given(data=st.data(), rate_hz=st.sampled_from([25.0, 50.0, 100.0]))
def test_where_a_signal_turns_wrong_and_right_does_not_depend_on_the_messages(data, rate_hz):
    n = int(60 * rate_hz)
    t, x = uniform(n, rate_hz), worn(n)
    a, b = sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    x[a:b] /= np.float32(9.8)
    whole = Run([batches(t, x)]).signature()
    assert Run(messages(t, x, data.draw(cuts(n, 60)))).signature() == whole


def test_a_stumble_is_no_contradiction():
    t, x = uniform(3000), worn(3000)
    x[1000:1150, :3] *= np.float32(0.05)  # 3 s as if weightless
    assert [v.status for v in Run([batches(t, x)]).verdicts] == ["ok"]


def test_a_stated_rate_that_the_stamps_contradict_is_refused():
    t, x = uniform(500), worn(500)
    stated = [replace(b, declared=replace(b.declared, rate_hz=100.0)) for b in batches(t, x)]
    assert Run([stated]).reasons == [("rejected", "wrong rate")]
    stated = [replace(b, declared=replace(b.declared, rate_hz=48.0)) for b in batches(t, x)]
    assert Run([stated]).reasons == [("ok", "")]


@pytest.mark.parametrize(("before_hz", "after_hz"), [(100, 25), (50, 21), (25, 100), (200, 50)])
def test_a_rate_that_changes_is_measured_anew_and_costs_nine_seconds(before_hz, after_hz):
    n, m = 30 * before_hz, 60 * after_hz
    t = np.append(uniform(n, before_hz), uniform(m, after_hz, T0_NS + 30 * NS_PER_S))
    run = Run(seconds(t, worn(n + m)))
    assert run.reasons == [("ok", "")]
    assert run.counts["rate_change"] == 1
    at, _, valid, covered = run.grid()
    poor = (at > T0_NS + NS_PER_S) & (at < t[-1] - NS_PER_S) & ~(valid & covered)
    assert poor.sum() * STEP_NS <= 9 * NS_PER_S
    assert not poor[at > T0_NS + 42 * NS_PER_S].any()


def test_gaps_and_phones_that_wander_are_no_other_rate():
    t = uniform(6000, 50)
    t += np.rint(np.cumsum(np.sin(np.arange(6000) / 700)) * 4e6).astype(np.int64)  # 42 to 63 Hz
    keep = np.ones(6000, bool)
    for at in range(300, 5900, 400):
        keep[at : at + 90] = False
    run = Run(seconds(t[keep], worn(6000)[keep]))
    assert run.reasons == [("ok", "")]
    assert run.counts["rate_change"] == 0


def test_stamps_of_whole_seconds_are_refused_with_what_is_wrong():
    run = Run(seconds(uniform(1500) // NS_PER_S * NS_PER_S, worn(1500)))
    assert run.reasons[-1] == ("rejected", "gaps")
    assert not run.windows


def test_an_accelerometer_that_is_stuck_is_called_so_and_believed_once_it_is_not():
    t, x = uniform(3000), worn(3000)
    x[:, 3:] *= 4
    x[500:1500, :3] = 0, 0, 9.8
    x[2000:, :3] = 0, 0, 7.5
    run = Run(seconds(t, x))
    assert run.reasons == [("ok", ""), ("rejected", "stuck"), ("ok", ""), ("rejected", "stuck")]
    back = next(v for v in run.verdicts[1:] if v.status == "ok")
    assert back.t <= T0_NS + 38 * NS_PER_S
    constant = np.tile(np.float32([0, 0, 1.0]), (500, 2))
    assert Run(seconds(uniform(500), constant)).reasons == [("rejected", "wrong unit")]


def test_gravity_sent_in_g_is_refused():
    t, x = uniform(500), worn(500)
    gravity = np.tile(np.float32([0, 0, 1]), (500, 1))
    run = Run(
        [
            [
                accel_batch(t, x[:, :3] - np.float32([0, 0, 9.8]), sensor="linear_accel"),
                accel_batch(t, gravity, sensor="gravity"),
                accel_batch(t, x[:, 3:], "rad/s", sensor="gyro"),
            ]
        ]
    )
    assert run.reasons == [("rejected", "wrong unit")]


def test_two_devices_on_one_stream_are_rejected_until_one_is_left():
    boots = [1_000 * NS_PER_S, 90_000 * NS_PER_S]
    t, x = uniform(50), worn(50)

    def message(second, boot):
        declared = replace(DEVICE, unit="m/s2")
        at = t - t[0] + boot + second * NS_PER_S
        received = T0_NS + second * NS_PER_S
        return [
            SampleBatch("s", "accel", at, x[:, :3], declared, received),
            SampleBatch("s", "gyro", at, x[:, 3:], replace(DEVICE, unit="rad/s"), received),
        ]

    both = [message(second, boot) for second in range(20) for boot in boots]
    one = [message(second, boots[1]) for second in range(20, 120)]
    run = Run([*both, *one])
    assert [status for status, _ in run.reasons][-2:] == ["rejected", "ok"]
    assert run.reasons[-2] == ("rejected", "two clocks on one stream")
    assert run.counts["two_clocks"]


DEVICE = Declared("m/s2", max_delay_s=3.0, clock="device")


def test_a_device_mounted_otherwise_is_turned_into_the_frame_wanted():
    t, x = uniform(200), worn(200)
    mounted = x[:, [1, 0, 2, 4, 3, 5]] * np.float32([-1, 1, 1, -1, 1, 1])  # x of ours is its y
    conditioner = Conditioner(INPUT, Counter(), ("y", "-x", "z"))
    items = [*conditioner.feed(batches(t, mounted)), *conditioner.flush()]
    values = np.concatenate([b.values for b in items if isinstance(b, GridBlock)])
    assert np.array_equal(values, x)


def test_stamps_since_boot_reach_the_grid_at_the_time_of_their_arrival():
    n = 1500
    t, x = uniform(n), worn(n)
    feed = []
    for part in np.array_split(np.arange(n), 30):
        received = int(t[part[-1]]) + 10_000_000
        at = t[part] - T0_NS + 5_000 * NS_PER_S
        feed.append(
            [
                SampleBatch("s", "accel", at, x[part, :3], DEVICE, received),
                SampleBatch("s", "gyro", at, x[part, 3:], replace(DEVICE, unit="rad/s"), received),
            ]
        )
    grid_t, _, valid, _ = Run(feed).grid()
    assert abs(int(grid_t[valid][0]) - int(t[0]) - 10_000_000) <= STEP_NS
    assert abs(int(grid_t[valid][-1]) - int(t[-1]) - 10_000_000) <= STEP_NS


def test_a_reason_whose_figure_wanders_is_given_once():
    t, x = uniform(3000), worn(3000) / np.float32(9.8)
    x *= np.linspace(0.9, 1.2, 3000, dtype=np.float32)[:, None]
    assert len(Run(seconds(t, x)).verdicts) == 1


def test_gravity_removed_is_told_of_a_moving_signal_too():
    x = np.random.default_rng(0).normal(scale=3, size=(500, 6))
    assert Run([batches(uniform(500), x.astype(np.float32))]).reasons[0][0] == "rejected"


def test_a_tumbling_device_is_not_taken_for_one_in_g():
    t = uniform(150)
    for turns in np.arange(0.2, 5.0, 0.05):
        angle = np.linspace(0, 2 * np.pi * turns, 150)
        x = np.stack([9.81 * np.cos(angle), 9.81 * np.sin(angle), np.full(150, 0.5)], axis=1)
        assert Run([[accel_batch(t, x)]], ACCEL_ONLY).reasons in ([], [("ok", "")]), turns


def test_a_device_that_tumbles_for_a_minute_is_not_taken_for_one_without_gravity():
    t, x = uniform(3000), worn(3000)
    angle = np.linspace(0, 2 * np.pi * 40, 3000)
    x[:, :3] = np.stack([np.cos(angle), np.sin(angle), np.full(3000, 0.1)], axis=1) * 9.81
    x[:, 2] += np.random.default_rng(0).normal(scale=2, size=3000)
    assert Run(seconds(t, x)).reasons == [("ok", "")]


def test_gravity_removed_from_a_strong_motion_takes_six_seconds_to_tell():
    t = uniform(500)
    x = np.random.default_rng(0).normal(scale=6, size=(500, 6)).astype(np.float32)
    run = Run([batches(t, x)])
    assert run.reasons == [("rejected", "gravity removed")]
    assert run.verdicts[0].t == t[0] + 6 * NS_PER_S
    assert not run.windows


def test_degrees_per_second_are_told_of_one_who_sits():
    t, x = uniform(500), worn(500) * np.float32(0.1) + np.float32([0, 0, 8.8, 0, 0, 0])
    assert Run([batches(t, x)]).reasons == [("ok", "")]
    x[:, 3:] = np.degrees(x[:, 3:])
    assert Run([batches(t, x)]).reasons == [("rejected", "wrong unit")]


def walk_and_stand(still_s, moving_s, noise=0.005):
    """Return float32[n, 6] of one who walks for 15 s, hardly turns, and walks again."""
    parts = []
    for seed, strides_s in enumerate((15, moving_s)):
        quiet = worn(50 * still_s, seed) * np.float32(noise)
        quiet[:, 2] += 9.8 * (1 - noise)
        n = 50 * strides_s
        walk = worn(n, seed) * np.float32([3, 3, 1, 3, 3, 3])
        parts += [walk, quiet] if seed == 0 else [walk]
    return np.concatenate(parts)


@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_a_wrong_unit_of_the_gyroscope_stays_wrong_while_its_wearer_rests(noise):
    x = walk_and_stand(60, 20, noise)
    x[:, 3:] = np.degrees(x[:, 3:])
    run = Run(seconds(uniform(len(x)), x))
    assert run.reasons == [("rejected", "wrong unit")]
    assert not run.windows


def test_thirty_seconds_of_motion_that_agree_refute_a_wrong_unit():
    x = walk_and_stand(60, 60)
    x[: 15 * 50, 3:] = np.degrees(x[: 15 * 50, 3:])
    run = Run(seconds(uniform(len(x)), x))
    assert run.reasons == [("rejected", "wrong unit"), ("ok", "")]
    walks_ns = T0_NS + 75 * NS_PER_S
    assert walks_ns + 29 * NS_PER_S <= run.verdicts[1].t <= walks_ns + 34 * NS_PER_S


@pytest.mark.parametrize("redeclared_s", [10, 11, 30])
def test_another_declaration_of_the_gyroscope_is_believed_at_once(redeclared_s):
    x = walk_and_stand(60, 20)
    x[:, 3:] = np.degrees(x[:, 3:])
    feed = seconds(uniform(len(x)), x)
    feed[redeclared_s:] = [
        [accel, replace(gyro, declared=replace(gyro.declared, unit="deg/s"))]
        for accel, gyro in feed[redeclared_s:]
    ]
    run = Run(feed)
    assert run.reasons == [("rejected", "wrong unit"), ("ok", "")]
    assert run.verdicts[1].t <= T0_NS + (redeclared_s + 7) * NS_PER_S


def sits_and_stands(n, every_s=7.0, degrees=80.0):
    """Return float32[n, 6] at 50 Hz of a device that turns about x for 1 s, forth and back."""
    rng = np.random.default_rng(0)
    t = np.arange(n) / 50
    turns = np.floor(t / every_s) + np.clip(t % every_s - (every_s - 1), 0, 1)
    angle = np.radians(degrees) * np.abs((turns + 1) % 2 - 1)
    x = rng.normal(scale=0.02, size=(n, 6))
    x[:, 1] += STANDARD_GRAVITY_M_S2 * np.sin(angle)
    x[:, 2] += STANDARD_GRAVITY_M_S2 * np.cos(angle)
    x[:, 3] += np.gradient(angle) * 50
    return x.astype(np.float32)


def in_degrees(message):
    accel, gyro = message
    return [accel, replace(gyro, declared=replace(gyro.declared, unit="deg/s"))]


def test_a_gyroscope_in_radians_that_is_declared_in_degrees_is_told_once_its_wearer_turned_twice():
    x = sits_and_stands(60 * 50)
    feed = seconds(uniform(len(x)), x)
    assert Run(feed).reasons == [("ok", "")]
    run = Run(map(in_degrees, feed))
    assert run.reasons == [("ok", ""), ("rejected", "wrong unit")]
    assert "radians per second" in run.verdicts[1].reason
    assert run.verdicts[1].t <= T0_NS + 45 * NS_PER_S
    corrected = Run([*map(in_degrees, feed[:50]), *feed[50:]])
    assert corrected.reasons == [*run.reasons, ("ok", "")]


@pytest.mark.parametrize("off_s", [-0.5, 0.5])
def test_a_gyroscope_whose_stamps_are_half_a_second_off_does_not_lag(off_s):
    x = sits_and_stands(120 * 50)
    accel, gyro = batches(uniform(len(x)), x)
    late = replace(gyro, t=gyro.t + int(off_s * NS_PER_S))
    assert Run([[accel, late]]).reasons == [("ok", "")]


def test_a_stuck_gyroscope_is_told_and_believed_again_when_it_turns():
    x = sits_and_stands(60 * 50)
    x[:, 3:] = 0.01
    turning = sits_and_stands(20 * 50, every_s=1.0)
    run = Run(seconds(uniform(4000), np.concatenate([x, turning])))
    assert run.reasons == [("ok", ""), ("rejected", "stuck"), ("ok", "")]
    assert run.verdicts[2].t <= T0_NS + 67 * NS_PER_S


def test_two_postures_that_were_cut_out_and_joined_do_not_make_a_gyroscope_wrong():
    x = sits_and_stands(21 * 50, degrees=0.0)
    x[575:] = x[575:, [0, 2, 1, 3, 4, 5]]  # in the middle of what is judged at a time
    assert Run(seconds(uniform(len(x)), x)).reasons == [("ok", "")]


def test_postures_that_were_joined_with_motion_between_do_not_make_a_gyroscope_wrong():
    upright, motion = sits_and_stands(575, degrees=0.0), sits_and_stands(950, every_s=1.0)
    pieces = [upright, upright[:, [0, 2, 1, 3, 4, 5]], motion] * 2
    x = np.concatenate(pieces)
    assert Run(seconds(uniform(len(x)), x)).reasons == [("ok", "")]


@pytest.mark.parametrize("drift_rad_s", [0.0, 0.1])
@pytest.mark.parametrize("brakes_m_s2", [2.5, 5.0, 8.0])
def test_a_car_that_speeds_up_and_brakes_does_not_make_a_gyroscope_wrong(brakes_m_s2, drift_rad_s):
    x = sits_and_stands(120 * 50, degrees=0.0)
    x[:, 1] += brakes_m_s2 * np.sign(np.sin(np.arange(len(x)) / 50 * np.pi / 3.5))
    x[:, 4] += drift_rad_s
    assert Run(seconds(uniform(len(x)), x)).reasons == [("ok", "")]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2, 2.0])
def test_a_wrong_scale_of_the_accelerometer_is_told_at_rest_and_not_forgotten_in_motion(factor):
    x = walk_and_stand(60, 20)[15 * 50 :]
    x[:, :3] *= np.float32(factor)
    run = Run(seconds(uniform(len(x)), x))
    assert run.reasons == [("rejected", "wrong scale")]
    assert "accel_scale" in run.verdicts[0].reason
    assert not run.windows


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_scale_that_motion_hid_is_told_at_the_first_rest(factor):
    x = walk_and_stand(60, 20)
    x[:, :3] *= np.float32(factor)
    run = Run(seconds(uniform(len(x)), x))
    assert run.reasons == [("ok", ""), ("rejected", "wrong scale")]
    assert run.verdicts[1].t <= T0_NS + 24 * NS_PER_S


@pytest.mark.parametrize("factor", [0.9, 1.04, 1.1])
def test_a_scale_as_far_off_as_cheap_sensors_are_is_believed(factor):
    x = walk_and_stand(60, 20)
    x[:, :3] *= np.float32(factor)
    assert Run(seconds(uniform(len(x)), x)).reasons == [("ok", "")]


def test_a_right_scale_is_believed_again_after_a_rest():
    x = walk_and_stand(60, 20)[15 * 50 :]
    x[: 30 * 50, :3] *= np.float32(2)
    assert Run(seconds(uniform(len(x)), x)).reasons == [("rejected", "wrong scale"), ("ok", "")]


@pytest.mark.parametrize("placement", ["pocket", "waist"])
def test_no_wearer_is_ever_rejected(placement):
    for seed in range(6):
        wearer = Wearer.draw(placement, np.random.default_rng(seed))
        for activity in activities(placement):
            rate_hz = [25.0, 50.0, 100.0][seed % 3]
            accel, gyro = simulate(wearer, activity, 9.0, rate_hz, np.random.default_rng(seed))
            x = np.hstack([accel, gyro])
            # Every tile of 3 s must pass, not only the first of a stream.
            for second in (0, 3, 6):
                part = x[int(second * rate_hz) : int((second + 3) * rate_hz)]
                run = Run([batches(uniform(len(part), rate_hz), part)])
                assert run.reasons == [("ok", "")], (activity, seed, run.verdicts)


def test_a_verdict_is_not_dated_later_than_the_samples():
    t, x = uniform(60), worn(60)
    (verdict,) = Run([batches(t, x)]).verdicts
    assert verdict.t == t[-1] + 1


def test_a_verdict_names_the_segment_it_is_about():
    t, x = uniform(1000), worn(1000)
    t[500:] += 3600 * NS_PER_S
    x[500:, :3] /= 9.8
    run = Run(seconds(t, x))
    assert [(v.status, v.segment) for v in run.verdicts] == [("ok", 0), ("rejected", 1)]


# -- bursts, and memory ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spacing_ns", "burst"), [(1, 3), (1000, 3), (500_000, 3), (1_000_000, 10), (5_000_000, 10)]
)
def test_stamps_in_bursts_cost_no_more_than_even_ones(spacing_ns, burst):
    n = 2000 // burst * burst
    t = uniform(n // burst, 100 / burst).repeat(burst) + np.arange(n) % burst * spacing_ns
    grid_t, _, valid, _ = Run([batches(t, worn(n))]).grid()
    assert len(grid_t) == pytest.approx(n / 2, abs=20)
    assert valid.mean() > 0.9


def test_memory_does_not_grow_over_an_hour():
    conditioner = Conditioner(INPUT, Counter())

    def held():
        tracks = conditioner._tracks.values()
        return sum(len(r._t) + len(r.real_t) for t in tracks for r in t._runs)

    sizes = []
    for minute in range(60):
        n = 3000
        start_ns = T0_NS + minute * 60 * NS_PER_S + 7
        list(conditioner.feed(batches(uniform(n, start_ns=start_ns), worn(n))))
        sizes.append(held())
    assert max(sizes[10:]) <= max(sizes[:10])
