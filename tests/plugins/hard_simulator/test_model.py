"""The synthetic wearer: whole, repeatable, and within what was measured on people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import STANDARD_GRAVITY_M_S2
from hard_simulator.model import Bout, Motion, Wearer, activities, simulate

STRIDE_RANGES_HZ = {"walking": (0.68, 1.25), "running": (1.0, 1.8)}
"""Where strides (two steps) were searched when the parameters were measured."""
EVERY_ACTIVITY = [(p, a) for p in ("pocket", "waist") for a in activities(p)]


def rng(seed):
    return np.random.default_rng(seed)


def day(wearer, rate_hz=50.0, seed=7):
    bouts = [Bout("walking", 7.3), Bout("sitting", 6.0), Bout("upstairs", 4.04)]
    return Motion(wearer, bouts, rate_hz, rng(seed))


def stride_hz(motion):
    """Return the rate at which all six channels repeat themselves best, between 0.5 and 2 Hz."""
    values = np.hstack(motion).astype(float)
    values = (values - values.mean(axis=0)) * [1, 1, 1, 3, 3, 3]
    lags = np.arange(25, 101)
    similarity = [(values[:-lag] * values[lag:]).sum() for lag in lags]
    return 50.0 / lags[np.argmax(similarity)]


@pytest.mark.parametrize(("placement", "activity"), EVERY_ACTIVITY)
def test_every_activity_gives_whole_samples_of_plausible_size(placement, activity):
    accel, gyro = simulate(Wearer.draw(placement, rng(3)), activity, 20.0, 50.0, rng(4))
    for values, most in ((accel, 160.0), (gyro, 35.0)):
        assert values.shape == (1000, 3)
        assert values.dtype == np.float32
        assert np.abs(values).max() < most
        assert values.std(axis=0).min() > 0.001


def test_the_placements_know_these_activities():
    gait_and_postures = {"walking", "upstairs", "downstairs", "sitting", "standing"}
    assert set(activities("pocket")) == gait_and_postures | {"running"}
    assert set(activities("waist")) == gait_and_postures | {"laying"}


def test_an_unknown_activity_is_a_key_error():
    with pytest.raises(KeyError, match="laying"):
        simulate(Wearer.draw("pocket", rng(0)), "laying", 2.0, 50.0, rng(0))


def test_the_same_seed_gives_the_same_samples_and_another_seed_others():
    first, again, other = (day(Wearer.draw("pocket", rng(s)), seed=s).read(500) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.5)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 400), max_size=12),
    rate_hz=st.sampled_from([5.0, 20.0, 33.3, 50.0, 100.0]),
    placement=st.sampled_from(["pocket", "waist"]),
)
def test_the_samples_do_not_depend_on_the_block_size(sizes, rate_hz, placement):
    wearer = Wearer.draw(placement, rng(5))
    whole = day(wearer, rate_hz).read(2500)
    motion = day(wearer, rate_hz)
    blocks = [motion.read(n) for n in [*sizes, 2500]]
    for sensor in (0, 1):
        assert np.array_equal(np.concatenate([block[sensor] for block in blocks]), whole[sensor])


@pytest.mark.parametrize("rate_hz", [20.0, 50.0, 100.0])
def test_a_script_lasts_as_long_as_its_bouts(rate_hz):
    accel, gyro = day(Wearer.draw("waist", rng(1)), rate_hz).read(100_000)
    assert len(accel) == len(gyro) == pytest.approx(17.34 * rate_hz, abs=1)


def test_another_rate_gives_the_same_motion_at_the_common_times():
    wearer = Wearer.draw("pocket", rng(6))
    at_50_hz, at_100_hz = day(wearer, 50.0).read(800)[0], day(wearer, 100.0).read(1600)[0]
    assert np.array_equal(at_100_hz[::2], at_50_hz)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("placement", "activity"),
    [e for e in EVERY_ACTIVITY if e[1] in ("sitting", "standing", "laying")],
)
def test_at_rest_the_accelerometer_reads_gravity_and_nothing_turns(placement, activity, seed):
    accel, gyro = simulate(Wearer.draw(placement, rng(seed)), activity, 60.0, 50.0, rng(seed))
    norm = np.linalg.norm(accel, axis=1)
    assert np.median(norm) == pytest.approx(STANDARD_GRAVITY_M_S2, abs=0.1)
    assert np.abs(np.median(gyro, axis=0)).max() < 0.05


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("placement", "activity"), [("pocket", "walking"), ("waist", "walking"), ("pocket", "running")]
)
def test_strides_come_at_the_measured_rates(placement, activity, seed):
    motion = simulate(Wearer.draw(placement, rng(seed)), activity, 30.0, 50.0, rng(seed))
    low, high = STRIDE_RANGES_HZ[activity]
    assert low <= stride_hz(motion) <= high


def test_wearers_differ_in_pace_and_in_how_the_phone_sits():
    wearers = [Wearer.draw("pocket", rng(seed)) for seed in range(30)]
    walks = [simulate(w, "walking", 20.0, 50.0, rng(0)) for w in wearers]
    sits = [simulate(w, "sitting", 5.0, 50.0, rng(0))[0].mean(axis=0) for w in wearers]
    assert len({stride_hz(walk) for walk in walks}) >= 4
    assert {bool(z > 0) for z in np.array(sits)[:, 2]} == {True, False}


def test_activities_blend_within_a_second_and_the_gyroscope_sees_the_turn():
    wearer = Wearer.draw("pocket", rng(2))
    bouts = [Bout("standing", 10.0), Bout("sitting", 10.0)]
    accel, gyro = Motion(wearer, bouts, 50.0, rng(3)).read(1000)
    before, after = accel[:470].mean(axis=0), accel[530:].mean(axis=0)
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    turned = np.linalg.norm(gyro[475:525].sum(axis=0)) / 50.0
    assert np.abs(accel[:470] - before).max() < 3.0
    assert np.abs(accel[530:] - after).max() < 3.0
    assert turned == pytest.approx(np.arccos(cosine), abs=0.4)


def test_gravity_turned_by_the_gyroscope_is_the_gravity_measured():
    wearer = Wearer.draw("pocket", rng(2))
    bouts = [Bout("standing", 4.0), Bout("sitting", 4.0)]
    accel, gyro = (v.astype(float) for v in Motion(wearer, bouts, 50.0, rng(3)).read(400))
    up = accel[160:170].mean(axis=0)
    for rate in gyro[165:235]:
        up = up + np.cross(up, rate) / 50.0
    error = np.linalg.norm(up - accel[230:240].mean(axis=0))
    assert error < 0.2 * STANDARD_GRAVITY_M_S2


def test_memory_is_constant_however_long_the_motion():
    wearer = Wearer.draw("pocket", rng(0))
    motion = Motion(wearer, (Bout("walking", 5.0) for _ in range(10**9)), 50.0, rng(0))
    for _ in range(200):
        motion.read(250)
    assert len(motion._grid) < 1000
    assert len(motion._current) < 6
