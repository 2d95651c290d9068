"""What `hard inspect` finds in a recording."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S, Annotation, Declared, SampleBatch
from hard.inspection import Inspector, described
from tests.hard.signals import ACCEL_ONLY, INPUT, T0_NS, cuts, uniform, worn

MODELS = {"pocket": INPUT, "accel": ACCEL_ONLY}
ACCEL, GYRO = Declared("m/s2"), Declared("rad/s")


def at_rest(n, seed=0):
    x = np.random.default_rng(seed).normal(scale=0.02, size=(n, 6)).astype(np.float32)
    x[:, 2] += 9.8
    return x


def batches(t, x, accel=ACCEL, gyro=GYRO, stream="walk"):
    return [
        SampleBatch(stream, "accel", t, x[:, :3].copy(), accel),
        SampleBatch(stream, "gyro", t, x[:, 3:].copy(), gyro),
    ]


def inspected(*messages, models=MODELS):
    inspector = Inspector(models)
    for message in messages:
        inspector.feed(message)
    return inspector.finish()


def only(*messages, models=MODELS):
    """Return the one stream, its accelerometer's report."""
    (stream,) = inspected(*messages, models=models).streams
    return stream, stream.sensors[0]


def test_rate_duration_and_rest_are_those_of_the_samples():
    stream, accel = only(batches(uniform(1000, 100.0), at_rest(1000)))
    assert (accel.sensor, accel.samples, accel.rate_hz) == ("accel", 1000, 100.0)
    assert accel.duration_s == pytest.approx(9.99)
    assert accel.jitter_ms < 0.001
    assert accel.resting_norm == pytest.approx(9.8, abs=0.05)
    assert accel.resting_s == 10
    assert (accel.gaps, accel.duplicates, accel.repeated_stamps, accel.backwards) == (0, 0, 0, 0)
    assert (stream.gravity, stream.sign, stream.findings) == ("included", 1, ())


def test_jitter_is_the_spread_of_the_steps():
    t = uniform(2000)
    t[1::2] += 4_000_000
    _, accel = only(batches(t, at_rest(2000)))
    assert accel.rate_hz == pytest.approx(50, rel=0.001)
    assert accel.jitter_ms == pytest.approx(4, rel=0.01)


def test_gaps_duplicates_repeated_and_backward_stamps_are_counted():
    t = uniform(1000)
    t[500:] += 3 * NS_PER_S
    x = at_rest(1000)
    t[100], x[100] = t[99], x[99]  # a duplicate
    t[200] = t[199]  # the same stamp, another value
    t[300], t[301] = t[301], t[300]
    _, accel = only(batches(t, x))
    assert (accel.gaps, accel.longest_gap_s) == (1, pytest.approx(3.02))
    assert (accel.duplicates, accel.repeated_stamps, accel.backwards) == (1, 1, 1)


@pytest.mark.parametrize(
    ("scale", "declared", "gravity", "options"),
    [
        (1 / 9.80665, ACCEL, "included", {"accel_unit": "g"}),
        (1.0, Declared("g"), "included", {"accel_unit": "m/s2"}),
        (1.0, Declared("m/s2", sign=None), "included", {"platform": "ios|android"}),
        (0.0, ACCEL, "removed", {}),
        (0.5, ACCEL, "unclear", {}),
        (1.0, ACCEL, "included", {}),
    ],
)
def test_a_wrong_unit_missing_gravity_or_unknown_sign_is_found(scale, declared, gravity, options):
    x = at_rest(1000)
    x[:, :3] = (x[:, :3] - [0, 0, 9.8]) + np.array([0, 0, 9.8]) * scale
    if scale == 1 / 9.80665:
        x[:, :3] = [0, 0, 1]
    found = inspected(batches(uniform(1000), x, declared))
    (stream,) = found.streams
    assert (stream.gravity, found.options) == (gravity, options)
    fine = declared is ACCEL and scale == 1
    assert bool(stream.findings) != fine
    assert stream.fits[0].stretches[0].status == ("ok" if fine else "rejected")


def test_a_gyroscope_in_degrees_is_found():
    x = at_rest(1000)
    x[:, 3:] = 40
    found = inspected(batches(uniform(1000), x))
    assert found.options == {"gyro_unit": "deg/s"}
    assert "faster than anything worn turns" in found.streams[0].findings[0].text


def test_linear_acceleration_alone_lacks_gravity_and_with_it_beside_does_not():
    t, x = uniform(1000), at_rest(1000)
    linear = SampleBatch("walk", "linear_accel", t, x[:, 3:6].copy(), ACCEL)
    gravity = SampleBatch("walk", "gravity", t, x[:, :3].copy(), ACCEL)
    assert inspected([linear]).streams[0].gravity == "removed"
    assert inspected([linear, gravity]).streams[0].gravity == "beside"
    gyro = SampleBatch("walk", "gyro", t, x[:, 3:].copy(), GYRO)
    assert inspected([gyro]).streams[0].gravity == "no accelerometer"


def test_labels_are_told_in_seconds():
    notes = [Annotation("walk", T0_NS + s * NS_PER_S, text) for s, text in ((2, "a"), (5, ""))]
    later = [Annotation("walk", T0_NS + 8 * NS_PER_S, "b")]
    stream, accel = only([*batches(uniform(1000), at_rest(1000)), *notes], later)
    assert stream.labels["a"] == 3
    assert stream.labels["b"] == pytest.approx(accel.duration_s - 8)


def test_what_each_model_makes_of_it_is_told_stretch_by_stretch():
    good, bad = at_rest(1000), at_rest(1000)
    bad[:, :3] /= 9.80665
    t = uniform(2000)
    stream, _ = only(batches(t[:1000], good), batches(t[1000:], bad))
    for fit in stream.fits:
        assert [s.status for s in fit.stretches] == ["ok", "rejected"]
        assert "likely in g" in fit.stretches[1].reason
        assert 18 < fit.usable_s < 30
    accel_only, _ = only([replace(batches(t[:1000], good)[0])])
    whole, without = accel_only.fits
    assert "no gyroscope" in whole.stretches[0].reason
    assert without.stretches[0].status == "ok"


def test_streams_are_told_apart():
    t, x = uniform(500), at_rest(500)
    found = inspected(batches(t, x), batches(t, x, stream="run"))
    assert [stream.stream for stream in found.streams] == ["walk", "run"]


def test_a_day_keeps_a_row_a_second_and_no_more():
    inspector = Inspector({})
    step = NS_PER_S // 10
    for k in range(60):
        t = T0_NS + np.arange(k * 20_000, (k + 1) * 20_000, dtype=np.int64) * step
        inspector.feed(batches(t, at_rest(20_000)))
    (stream,) = inspector.finish().streams
    seconds = stream.sensors[0].seconds
    assert 43_000 < len(seconds) <= 86_400
    assert seconds[-1, 0] == pytest.approx(119_999, abs=2)


@settings(deadline=None)
@given(cuts(600), st.integers(0, 100))
def test_how_the_samples_were_cut_into_messages_changes_no_count(at, seed):
    rng = np.random.default_rng(seed)
    t = uniform(600) + rng.integers(-25_000_000, 25_000_000, 600)
    t[rng.integers(1, 600)] = t[0]
    x = worn(600, seed)
    _, whole = only(batches(t, x), models={})
    parts = [batches(t[a:b], x[a:b]) for a, b in pairwise(at) if a < b]
    _, cut = only(*parts, models={})
    for name in ("samples", "gaps", "duplicates", "repeated_stamps", "backwards", "jitter_ms"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name))


@given(st.lists(st.floats(width=32), min_size=6, max_size=60), st.integers(-(2**62), 2**62))
def test_whatever_comes_is_told_and_nothing_raised(numbers, start):
    n = len(numbers) // 6
    x = np.array(numbers[: 6 * n], np.float32).reshape(n, 6)
    t = start + np.arange(n, dtype=np.int64) * 20_000_000
    found = inspected(batches(t, x))
    assert str(n) in described(found)
    json.dumps(found.to_json())
