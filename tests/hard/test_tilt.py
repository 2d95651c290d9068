"""The gyroscope against gravity: told at any attitude, whatever turns, and silent on all else."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hard.api import STANDARD_GRAVITY_M_S2
from hard.tilt import Tilt, turning_in, wandering

RATE_HZ, WINDOW = 50, 400
TOLD = [(2.0, "slow"), (1.0, "right"), (0.5, "fast")]
seeds = st.integers(0, 10_000)


def turning(seed, windows=8, *, jolts_m_s2=1.0, drift_rad_s=(0, 0, 0)):
    """Return windows of total acceleration and angular rates of a device that turns to and fro."""
    rng = np.random.default_rng(seed)
    n = windows * WINDOW
    knots = rng.normal(size=(n // 40 + 3, 3))  # another way every 0.8 s
    rates = np.stack([np.interp(np.arange(n) / 40, np.arange(len(knots)), k) for k in knots.T], 1)
    up, seen = rng.normal(size=3), np.empty((n, 3))
    for i, (p, q, r) in enumerate((rates / RATE_HZ).tolist()):
        x, y, z = up
        up = np.array([x + y * r - z * q, y + z * p - x * r, z + x * q - y * p])  # up' = up x rate
        up /= (up @ up) ** 0.5
        seen[i] = up
    accel = STANDARD_GRAVITY_M_S2 * seen + rng.normal(scale=jolts_m_s2, size=seen.shape)
    gyro = rates + rng.normal(scale=0.01, size=rates.shape) + drift_rad_s
    return list(zip(np.split(accel, windows), np.split(gyro, windows), strict=True))


def found(pairs, turn=None, times=1.0):
    tilt, turn = Tilt(), np.eye(3) if turn is None else turn
    said = (tilt.weigh(accel @ turn, times * gyro @ turn, RATE_HZ) for accel, gyro in pairs)
    return next((word for word in said if word), None)


@settings(deadline=None, max_examples=8)
@given(seed=seeds)
def test_angles_too_large_or_too_small_are_told_however_the_device_is_turned(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    pairs = turning(seed)
    assert [found(pairs, turn, times) for times, _ in TOLD] == [word for _, word in TOLD]


@pytest.mark.parametrize(("times", "word"), TOLD)
def test_the_sign_of_the_acceleration_changes_nothing(times, word):
    assert found([(-accel, gyro) for accel, gyro in turning(1)], times=times) == word


def words_with_drift(seed, size_rad_s):
    drift = np.random.default_rng(seed).normal(size=3)
    drift *= size_rad_s / np.linalg.norm(drift)
    pairs = turning(seed, drift_rad_s=drift)
    return [found(pairs, times=times) for times, _ in TOLD]


@settings(deadline=None, max_examples=8)
@given(seed=seeds, size_rad_s=st.sampled_from([0.05, 0.1]))
def test_a_gyroscope_that_drifts_by_three_to_six_degrees_a_second_changes_nothing(seed, size_rad_s):
    assert words_with_drift(seed, size_rad_s) == [word for _, word in TOLD]


@settings(deadline=None, max_examples=8)
@given(seed=seeds)
@example(seed=2213)
def test_one_that_drifts_by_twelve_may_hide_a_wrong_rate_but_never_makes_one(seed):
    assert words_with_drift(seed, 0.2) in ([word for _, word in TOLD], [None, "right", None])


def test_rest_says_nothing_nor_do_hard_impacts():
    rng = np.random.default_rng(0)
    resting = rng.normal((0, 0, 9.8), 0.02, (WINDOW, 3)), rng.normal(0, 0.02, (WINDOW, 3))
    assert turning_in(*resting, RATE_HZ) is None
    assert found([resting] * 70) is None
    assert found(turning(0, jolts_m_s2=20.0), times=2.0) is None


def test_turning_about_the_vertical_tells_nothing_in_six_windows_and_is_let_be_after_sixty():
    level = np.tile([0, 0, STANDARD_GRAVITY_M_S2], (WINDOW, 1))
    round_and_round = level, np.tile([0, 0, 1.0], (WINDOW, 1))
    tilt = Tilt()
    said = [tilt.weigh(*round_and_round, RATE_HZ) for _ in range(60)]
    assert said == [None] * 59 + ["right"]


def test_a_gyroscope_whose_axes_are_others_is_not_called_a_wrong_rate():
    for seed in range(3):
        for times in (1.0, 2.0):
            pairs = [(accel, gyro[:, [1, 2, 0]]) for accel, gyro in turning(seed)]
            assert found(pairs, times=times) != "slow"


@settings(deadline=None, max_examples=20)
@given(
    seed=seeds,
    felt=st.sampled_from([0.0, 1e-30, 1.0, 11.0, 1e4]),
    turns=st.sampled_from([0.0, 0.3, 1.0, 1e4]),
    rate_hz=st.sampled_from([25, 50, 100]),
)
def test_whatever_is_measured_nothing_is_raised(seed, felt, turns, rate_hz):
    rng = np.random.default_rng(seed)
    tilt = Tilt()
    for _ in range(7):
        accel, gyro = (rng.normal(scale=scale, size=(WINDOW, 3)) for scale in (felt, turns))
        with np.errstate(all="raise", under="ignore"):
            assert tilt.weigh(accel, gyro, rate_hz) in {None, "slow", "right", "fast"}


@pytest.mark.parametrize("n", [76, 100, 1000])
def test_windows_of_other_lengths_have_a_finite_answer(n):
    rng = np.random.default_rng(0)
    window = turning_in(rng.normal(size=(2 * n, 3)), rng.normal(size=(2 * n, 3)), RATE_HZ)
    assert window is not None
    assert all(np.isfinite(part).all() for part in wandering(window))
