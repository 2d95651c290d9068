"""The upright frame: gait tells which way is up, in any orientation and however the feed is cut."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.upright import CALIBRATE_WITHIN_S, Reference, UprightEstimator, rotation, to_upright

RATE_HZ = 50
K0 = 1_700_000_000 * RATE_HZ + 7
G = 9.81
UP = np.array([0.3, -0.9, 0.2])


def direction(vector):
    return np.asarray(vector) / np.linalg.norm(vector)


def walking(seconds, up=UP, *, steps_hz=1.8, rate_hz=RATE_HZ, seed=0, strength=4.0):
    """Steps along the vertical, left and right differing, in the device's axes [n, 3]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    step = 2 * np.pi * steps_hz * t
    vertical = np.sin(step) + 0.4 * np.sin(2 * step + 1) + 0.3 * np.sin(step / 2)
    up = direction(up)
    sway = direction(np.cross(up, (0.2, 0.5, -0.7)))
    accel = np.outer(G + strength * vertical, up) + np.outer(np.sin(step / 2), sway)
    return accel + rng.normal(0, 0.3, accel.shape)


def resting(seconds, up=UP, *, noise=0.05, seed=1):
    rng = np.random.default_rng(seed)
    return G * direction(up) + rng.normal(0, noise, (round(seconds * RATE_HZ), 3))


def shaken(seconds, hz):
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.outer(G + 6 * np.sin(2 * np.pi * hz * t), direction(UP))


def estimated(*stretches, k0=K0, reference=None):
    estimator = UprightEstimator(RATE_HZ, reference)
    estimator.feed(k0, np.concatenate(stretches))
    return estimator


def apart_deg(one, other):
    return np.degrees(np.arccos(np.clip(direction(one) @ direction(other), -1, 1)))


def turns():
    vector = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.01)
    return vector.map(lambda v: rotation(np.array(v)))


def test_six_seconds_of_walking_tell_which_way_is_up():
    estimator = estimated(walking(6))
    assert apart_deg(estimator.reference(), UP) < 3
    assert np.linalg.norm(estimator.reference()) == pytest.approx(1)
    assert estimator.latest.source == "gait"
    learned_s = estimator.latest.t_learned_ns / 1e9 - K0 / RATE_HZ
    assert 5 <= learned_s <= 6


@pytest.mark.parametrize("steps_hz", [1.3, 1.8, 2.3, 2.8])
def test_slow_steps_and_fast_ones_are_gait(steps_hz):
    assert apart_deg(estimated(walking(8, steps_hz=steps_hz)).reference(), UP) < 3


@pytest.mark.parametrize("rate_hz", [20, 25, 100, 200])
def test_a_model_of_another_rate_is_served_too(rate_hz):
    estimator = UprightEstimator(rate_hz)
    estimator.feed(K0, walking(7, rate_hz=rate_hz))
    assert apart_deg(estimator.reference(), UP) < 3


def test_a_rate_at_which_steps_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="10 Hz"):
        UprightEstimator(10)


@pytest.mark.parametrize(
    "not_gait",
    [
        resting(60),
        resting(60, noise=0.4),
        shaken(60, 0.7),
        shaken(60, 5),
        walking(60, strength=0.5),
        resting(60, noise=3),
        np.zeros((3000, 3)),
    ],
    ids=["still", "fidgeting", "rocking", "shivering", "weak steps", "noise", "free fall"],
)
def test_what_is_no_gait_tells_nothing(not_gait):
    assert estimated(not_gait).reference() is None


def test_steps_that_never_last_tell_nothing():
    snatch = np.concatenate([walking(1), resting(3)])
    assert estimated(*[snatch] * 10).reference() is None


def test_a_gap_ends_a_stretch_of_gait_and_keeps_what_is_known():
    points = walking(60)
    valid = np.arange(len(points)) % 120 != 0
    broken = UprightEstimator(RATE_HZ)
    broken.feed(K0, points, valid)
    assert broken.reference() is None
    known = estimated(walking(8))
    before = known.latest
    known.feed(K0 - 10**9, walking(2))
    assert known.latest == before


def test_the_reference_is_refined_as_the_walk_goes_on():
    short, long = (estimated(walking(s, seed=3)) for s in (6, 60))
    assert long.latest.evidence == 60 > short.latest.evidence
    assert long.latest.t_learned_ns == short.latest.t_learned_ns
    assert apart_deg(long.reference(), UP) < 1


@settings(max_examples=30, deadline=None)
@given(turns(), st.integers(0, 1000))
def test_a_turned_device_has_the_same_reference_turned(turn, seed):
    points = np.concatenate([resting(5), walking(9, seed=seed), resting(3)])
    plain, turned = estimated(points), estimated(points @ turn.T)
    assert turned.reference() == pytest.approx(turn @ plain.reference(), abs=1e-9)
    assert turned.latest.t_learned_ns == plain.latest.t_learned_ns


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(0, 100))
def test_what_is_known_when_does_not_depend_on_how_the_feed_is_cut(lengths, seed):
    other = (-0.5, 0.2, 0.8)
    points = np.concatenate([walking(8, seed=seed), resting(4), walking(8, other, seed=seed)])
    valid = np.ones(len(points), bool)
    valid[550 + seed : 560 + seed] = False
    ends = np.arange(len(points) + 1)
    whole = UprightEstimator(RATE_HZ)
    whole.feed(K0, points, valid)
    expected = whole.references(K0 + ends)
    cut, begin, i = UprightEstimator(RATE_HZ), 0, 0
    while begin < len(points):
        end = min(begin + lengths[i % len(lengths)], len(points))
        cut.feed(K0 + begin, points[begin:end], valid[begin:end])
        found = cut.references(K0 + np.arange(begin + 1, end + 1))
        np.testing.assert_array_equal(found, expected[begin + 1 : end + 1])
        begin, i = end, i + 1
    assert cut.latest == whole.latest


def test_at_a_windows_end_only_what_came_before_it_is_known():
    points = np.concatenate([walking(9), walking(9, -UP)])
    ends = K0 + np.arange(1, len(points) + 1)
    whole = UprightEstimator(RATE_HZ)
    whole.feed(K0, points)
    everywhere = whole.references(ends)
    assert np.isnan(everywhere[:200]).all()
    for n in (240, 260, 400, 760, 800):
        part = UprightEstimator(RATE_HZ)
        part.feed(K0, points[:n])
        np.testing.assert_array_equal(part.references(ends[n - 1 : n])[0], everywhere[n - 1])


def test_a_phone_put_back_differently_is_followed_within_seconds():
    other = np.array([0.1, 0.2, -1.0])
    estimator = estimated(walking(60), resting(5, other), walking(9, other))
    assert apart_deg(estimator.reference(), other) < 3


def test_a_moment_of_another_direction_changes_nothing():
    estimator = estimated(walking(60), walking(3, -UP), walking(10))
    assert apart_deg(estimator.reference(), UP) < 3
    assert estimator.latest.t_learned_ns == estimated(walking(60)).latest.t_learned_ns


def test_a_reference_that_was_saved_holds_until_gait_contradicts_it():
    saved = json.loads(json.dumps(estimated(walking(20)).latest.to_json()))
    estimator = UprightEstimator(RATE_HZ, Reference.from_json(saved))
    assert apart_deg(estimator.reference(), UP) < 2
    estimator.feed(K0, resting(60, -UP))
    assert apart_deg(estimator.references(np.array([K0 + 3000]))[0], UP) < 2
    estimator.feed(K0 + 3000, walking(9, -UP))
    assert apart_deg(estimator.reference(), -UP) < 3


@pytest.mark.parametrize(
    "change",
    [
        {"gravity": [0, 0, 0]},
        {"gravity": [float("nan"), 0, 9]},
        {"gravity": [1e308, 1e308, 1e308]},
        {"gravity": [1, 2]},
        {"gravity": "up"},
        {"gravity": None},
        {"evidence": 0},
        {"evidence": 10**6},
        {"evidence": float("inf")},
        {"t_learned_ns": "soon"},
        {"source": "rumour"},
    ],
)
def test_a_saved_reference_that_cannot_be_right_is_refused(change):
    saved = estimated(walking(8)).latest.to_json()
    with pytest.raises(ValueError, match="not a saved reference"):
        Reference.from_json(saved | change)
    with pytest.raises(ValueError, match="not a saved reference"):
        Reference.from_json({k: v for k, v in saved.items() if k not in change})


def test_something_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match="not a saved reference"):
        Reference.from_json([1, 2, 3])


def test_three_seconds_of_standing_still_set_the_reference():
    estimator = UprightEstimator(RATE_HZ)
    estimator.calibrate(K0)
    estimator.feed(K0, resting(3))
    assert estimator.calibrating
    estimator.feed(K0 + 150, resting(1))
    assert not estimator.calibrating
    assert estimator.latest.source == "calibration"
    assert apart_deg(estimator.reference(), UP) < 1


def test_stillness_before_the_calibration_was_asked_for_does_not_count():
    estimator = UprightEstimator(RATE_HZ)
    estimator.calibrate(K0 + 500)
    estimator.feed(K0, np.concatenate([resting(10, -UP), walking(1), resting(5)]))
    assert apart_deg(estimator.reference(), UP) < 1


def test_a_calibration_waits_until_the_wearer_stands_still():
    estimator = UprightEstimator(RATE_HZ)
    estimator.calibrate(K0)
    turning = np.concatenate([resting(1, (np.cos(a), np.sin(a), 0)) for a in range(6)])
    estimator.feed(K0, np.concatenate([resting(2), turning, resting(5, noise=1)]))
    assert estimator.calibrating
    assert estimator.reference() is None
    estimator.feed(K0 + 650, resting(4))
    assert apart_deg(estimator.reference(), UP) < 1


@pytest.mark.parametrize("later_k", [0, -(10**9), 10**9])
def test_a_calibration_without_stillness_is_given_up(later_k):
    estimator = UprightEstimator(RATE_HZ)
    estimator.calibrate(K0)
    seconds = CALIBRATE_WITHIN_S + 1 if later_k == 0 else 1
    estimator.feed(K0 + later_k, resting(seconds, noise=1))
    assert not estimator.calibrating
    estimator.feed(K0 + later_k + 10**6, resting(10))
    assert estimator.reference() is None


def test_a_calibration_replaces_what_gait_told_and_gait_what_it_contradicts():
    estimator = estimated(walking(30))
    k = K0 + 1500
    estimator.calibrate(k)
    estimator.feed(k, resting(4, -UP))
    assert apart_deg(estimator.reference(), -UP) < 1
    estimator.feed(k + 200, walking(9))
    assert apart_deg(estimator.reference(), UP) < 3
    assert estimator.latest.source == "gait"


@settings(max_examples=200, deadline=None)
@given(st.tuples(*[st.floats(-20, 20)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_a_rotation_turns_the_reference_up_by_the_least_angle(vector):
    up = direction(vector)
    turn = rotation(np.array(vector))
    assert turn @ up == pytest.approx([0, 0, 1], abs=1e-4)
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-4)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-4)
    # The trace of a rotation is 1 + 2 cos(angle), and the angle that is needed has cos = up_z.
    assert np.trace(turn) == pytest.approx(1 + 2 * up[2], abs=1e-4)


@pytest.mark.parametrize("vector", [(0, 0, -9.81), (1e-12, 0, -1), (0, 0, 0), (0, 0, 5)])
def test_a_reference_that_points_down_or_nowhere_still_makes_a_rotation(vector):
    turn = rotation(np.array(vector, float))
    assert turn @ turn.T == pytest.approx(np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)


def some_windows(n=9, channels=6):
    return np.random.default_rng(4).normal(0, 5, (n, 32, channels)).astype(np.float32)


def some_references(n=9):
    vectors = np.random.default_rng(5).normal(0, 1, (n, 3))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


@pytest.mark.parametrize("channels", [3, 6])
def test_windows_are_turned_with_both_sensors(channels):
    windows, ups = some_windows(channels=channels), some_references()
    turned = to_upright(windows, ups)
    assert turned.dtype == np.float32
    for i, up in enumerate(ups):
        for first in range(0, channels, 3):
            sensor = windows[i, :, first : first + 3]
            expected = sensor @ rotation(up).T
            assert turned[i, :, first : first + 3] == pytest.approx(expected, abs=1e-4)
            assert turned[i, :, first + 2] == pytest.approx(sensor @ up, abs=1e-4)


def test_a_window_is_turned_the_same_alone_and_among_others():
    windows, ups = some_windows(), some_references()
    together = to_upright(windows, ups)
    for i in range(len(windows)):
        np.testing.assert_array_equal(
            to_upright(windows[i : i + 1], ups[i : i + 1])[0], together[i]
        )


def test_without_a_reference_a_windows_own_mean_points_up():
    windows, ups = some_windows(), some_references()
    windows[:, :, 1] -= 9
    given = windows.copy()
    ups[3] = np.nan
    turned = to_upright(windows, ups)
    own = turned[3, :, :3].mean(axis=0)
    assert own == pytest.approx([0, 0, np.linalg.norm(windows[3, :, :3].mean(axis=0))], abs=1e-3)
    assert np.isnan(ups[3]).all()
    np.testing.assert_array_equal(windows, given)


def test_an_upright_window_looks_the_same_but_for_heading_however_the_device_is_turned():
    points = walking(20)
    for turn in rotation(some_references()):
        plain, turned = (estimated(p) for p in (points, points @ turn.T))
        windows = [
            to_upright(p[None, -128:].astype(np.float32), e.reference()[None])[0]
            for p, e in ((points, plain), (points @ turn.T, turned))
        ]
        assert windows[1][:, 2] == pytest.approx(windows[0][:, 2], abs=1e-4)
        level = [np.linalg.norm(w[:, :2], axis=1) for w in windows]
        assert level[1] == pytest.approx(level[0], abs=1e-4)
