"""Strides against a stated rate: told for whoever walks or runs, and silent on all else.

Accelerometer only, for the gyroscope of simulated gait does not hold gravity still: what that one
tells is in test_tilt.py, and of real people in tests/test_contract.py.
"""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S, Declared, SampleBatch
from hard.cadence import WINDOW_S, StatedRate, stride_in
from hard.conditioning import Conditioner, GridBlock, Verdict
from hard.inspection import Inspector, described
from hard_file import Options, open_recording
from hard_simulator.model import Bout, Motion, Wearer, activities
from tests.hard.signals import ACCEL_ONLY, T0_NS, cuts, uniform

RATE_HZ = 50


def worn_by(seed, *bouts, rate_hz=RATE_HZ, placement="pocket"):
    """Return float32[n, 6] of a simulated wearer; bouts are (activity, seconds)."""
    rng = np.random.default_rng(seed)
    motion = Motion(Wearer.draw(placement, rng), [Bout(*bout) for bout in bouts], rate_hz, rng)
    return np.hstack(motion.read(round(rate_hz * sum(seconds for _, seconds in bouts))))


def message(x, stated_hz, a=0, b=None, *, counted=True, start_ns=T0_NS):
    t = uniform(len(x), stated_hz, start_ns)[a:b]
    return [
        SampleBatch(
            "s", "accel", t, x[a:b, :3], Declared("m/s2", rate_hz=stated_hz, counted=counted)
        )
    ]


class Run:
    """What conditioning made of messages: verdicts, counts, and how many points it gave."""

    def __init__(self, *messages):
        self.counts = Counter()
        conditioner = Conditioner(ACCEL_ONLY, self.counts)
        items = [item for each in messages for item in conditioner.feed(each)]
        items += conditioner.flush()
        self.verdicts = [item for item in items if isinstance(item, Verdict)]
        self.points = sum(len(item.values) for item in items if isinstance(item, GridBlock))

    @property
    def statuses(self):
        return [verdict.status for verdict in self.verdicts]


# -- strides -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_stride_is_two_steps_however_the_device_is_turned(seed):
    accel = worn_by(seed, ("walking", 60.0), placement="waist")[:, :3].astype(float)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    found = 0
    for begin in range(0, 2400, 400):
        window = accel[begin : begin + WINDOW_S * RATE_HZ]
        stride, turned = stride_in(window), stride_in(window @ turn)
        assert (stride is None) == (turned is None)
        if stride is not None:
            found += 1
            assert 0.85 < stride.period_s < 1.4
            assert turned == pytest.approx(stride)
    assert found >= 4


@pytest.mark.parametrize("hz", [0.4, 1.0, 2.0, 4.5])
def test_a_smooth_swing_is_no_gait_at_any_pace(hz):
    t = np.arange(WINDOW_S * RATE_HZ) / RATE_HZ
    swing = np.stack([np.sin(2 * np.pi * hz * t), np.sin(4 * np.pi * hz * t), 0 * t], axis=1)
    noise = np.random.default_rng(0).normal(scale=0.1, size=swing.shape)
    assert stride_in(4 * swing[:, [1, 2, 0]] + noise + [0, 0, 9.8]) is None


def test_neither_rest_nor_noise_nor_zeros_are_gait():
    rng = np.random.default_rng(0)
    for scale in (0.0, 0.05, 3.0, 30.0):
        assert stride_in(rng.normal((0, 9.8, 0), scale, (400, 3))) is None
    assert stride_in(np.zeros((400, 3))) is None


# -- rates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activity", ["walking", "running"])
@pytest.mark.parametrize(
    ("true_hz", "stated_hz"), [(100, 50), (50, 25), (50, 100), (25, 50), (200, 100), (100, 200)]
)
def test_a_rate_that_gait_contradicts_is_refused_and_the_likely_one_named(
    activity, true_hz, stated_hz
):
    x = worn_by(1, ("standing", 20.0), (activity, 120.0), rate_hz=true_hz)
    run = Run(message(x, stated_hz))
    assert run.statuses == ["ok", "rejected"]
    last = run.verdicts[-1]
    assert last.reason.startswith(f"wrong rate: at the stated {stated_hz} Hz a stride takes ")
    likely = "20 or 25" if true_hz == 25 else true_hz
    assert f"the rate is likely {likely} Hz" in last.reason
    walked_s = (last.t - T0_NS) / NS_PER_S - 20 * true_hz / stated_hz
    assert walked_s < 60
    assert run.points <= (last.t - T0_NS) // ACCEL_ONLY.period_ns + 1


@pytest.mark.parametrize("placement", ["pocket", "waist"])
@pytest.mark.parametrize("rate_hz", [20, 50, 100, 173])
def test_no_wearer_contradicts_the_right_rate(placement, rate_hz):
    bouts = [(activity, 40.0) for activity in activities(placement)]
    for seed in range(2):
        x = worn_by(seed, *bouts, rate_hz=rate_hz, placement=placement)
        assert Run(message(x, rate_hz)).statuses == ["ok"], seed


def test_stamps_that_were_measured_are_never_weighed_against_strides():
    x = worn_by(1, ("walking", 120.0), rate_hz=100)
    assert Run(message(x, 50, counted=False)).statuses == ["ok"]
    assert Run(message(x, 50)).statuses == ["ok", "rejected"]


def test_a_file_without_a_time_column_is_weighed_and_inspecting_it_tells(tmp_path):
    file = tmp_path / "walk.csv"
    names = "accel_x,accel_y,accel_z"
    x = worn_by(1, ("walking", 120.0), rate_hz=100)
    np.savetxt(file, x[:, :3], "%.5f", ",", header=names, comments="")
    told = {}
    for rate_hz in (50.0, 100.0):
        inspector = Inspector({"pocket": ACCEL_ONLY})
        for part in open_recording(file, Options(rate_hz=rate_hz)).messages():
            inspector.feed(part)
        told[rate_hz] = described(inspector.finish())
    assert "50 Hz, 50 stated" in told[50.0]
    assert "rejected: wrong rate: at the stated 50 Hz a stride takes" in told[50.0]
    assert "the rate is likely 100 Hz: correct it (rate_hz, --rate)" in told[50.0]
    assert "rejected" not in told[100.0]


def test_a_rate_that_strides_confirmed_is_not_doubted_again():
    right, wrong = worn_by(1, ("walking", 60.0)), worn_by(1, ("walking", 240.0), rate_hz=100)
    assert Run(message(np.vstack([right, wrong]), 50)).statuses == ["ok"]


def test_what_comes_behind_a_wrong_rate_is_dropped_and_counted_until_the_next_recording():
    wrong, right = worn_by(1, ("walking", 120.0), rate_hz=100), worn_by(1, ("walking", 60.0))
    counts = Counter()
    conditioner = Conditioner(ACCEL_ONLY, counts)
    first = [*conditioner.feed(message(wrong, 50)), *conditioner.flush()]
    verdicts = [item for item in first if isinstance(item, Verdict)]
    assert [verdict.status for verdict in verdicts] == ["ok", "rejected"]
    behind = len(wrong) - (verdicts[-1].t - T0_NS) * 50 // NS_PER_S
    assert abs(counts["rejected"] - behind) <= 2

    later = message(right, 50, start_ns=T0_NS + 3600 * NS_PER_S)
    second = [*conditioner.feed(later), *conditioner.flush()]
    assert [item.status for item in second if isinstance(item, Verdict)] == ["ok"]
    assert sum(len(item.values) for item in second if isinstance(item, GridBlock)) == len(right)


@settings(deadline=None, max_examples=10)
@given(data=st.data(), stated_hz=st.sampled_from([25, 50, 100]))
def test_when_a_rate_is_refused_does_not_depend_on_the_messages(data, stated_hz):
    x = worn_by(2, ("walking", 60.0))
    whole = Run(message(x, stated_hz))
    at = data.draw(cuts(len(x), 40))
    cut = Run(*(message(x, stated_hz, a, b) for a, b in pairwise(at)))
    assert (cut.verdicts, cut.points, cut.counts) == (whole.verdicts, whole.points, whole.counts)


def test_a_gap_and_rows_left_out_only_delay_the_finding():
    x = worn_by(1, ("walking", 240.0), rate_hz=100)
    t = uniform(len(x), 50)
    keep = np.ones(len(x), bool)
    keep[1000:1500] = False  # 10 s
    keep[::37] = False
    weighed = StatedRate(50, T0_NS)
    end, reason = weighed.find({"accel": (t[keep], x[keep, :3].astype(float))}, int(t[-1]))
    assert reason.startswith("wrong rate")
    assert end - T0_NS < 60 * NS_PER_S


@settings(deadline=None, max_examples=40)
@given(
    stated_hz=st.floats(0.1, 100_000),
    n=st.integers(0, 3000),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e4]),
)
def test_whatever_the_samples_and_the_rate_nothing_is_raised(stated_hz, n, scale):
    rng = np.random.default_rng(n)
    t = np.unique(rng.integers(0, 40 * NS_PER_S, n))
    x = rng.normal(scale=scale, size=(len(t), 3))
    samples = {"accel": (t, x), "gyro": (t, rng.normal(scale=scale, size=x.shape))}
    assert StatedRate(stated_hz, 0).find(samples, 41 * NS_PER_S) is None
