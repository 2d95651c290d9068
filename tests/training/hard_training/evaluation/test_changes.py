import numpy as np
import pytest

from hard.api import Declared, SampleBatch
from hard_training.datasets import Recording
from hard_training.evaluation.changes import (
    NO_CLASS,
    Errors,
    at_rate,
    made_up,
    with_errors,
    without_gyro,
)


def recording(hz=3.0, person=1, seconds=20, rate_hz=50):
    t = np.arange(seconds * rate_hz, dtype=np.int64) * (10**9 // rate_hz)
    wave = np.sin(2 * np.pi * hz * t / 1e9)
    accel = np.stack([wave, 9.81 + wave, -wave], axis=1)
    messages = tuple(
        [
            SampleBatch("x", "accel", t[i : i + 300], accel[i : i + 300], Declared("m/s2")),
            SampleBatch("x", "gyro", t[i : i + 300], accel[i : i + 300] / 9, Declared("rad/s")),
        ]
        for i in range(0, len(t), 300)
    )
    return Recording("r", person, messages, ())


def track(of, sensor="accel"):
    batches = [b for message in of.messages for b in message if b.sensor == sensor]
    return np.concatenate([b.t for b in batches]), np.concatenate([b.values for b in batches])


@pytest.mark.parametrize("rate_hz", [20, 25, 50, 100, 200])
def test_a_slow_wave_is_the_same_at_every_rate(rate_hz):
    t, values = track(at_rate(recording(hz=3), rate_hz))
    assert np.median(np.diff(t)) == pytest.approx(1e9 / rate_hz)
    inner = slice(3 * rate_hz, -3 * rate_hz)
    assert values[inner, 0] == pytest.approx(np.sin(2 * np.pi * 3 * t[inner] / 1e9), abs=2e-3)


def test_what_a_lower_rate_cannot_hold_is_filtered_away_and_folds_down_without_a_filter():
    fast = recording(hz=17)
    inner = slice(60, -60)
    assert np.abs(track(at_rate(fast, 25))[1][inner, 0]).max() < 1e-3
    assert np.abs(track(at_rate(fast, 25, filtered=False))[1][inner, 0]).max() > 0.5


def test_the_same_rate_changes_nothing():
    assert track(at_rate(recording(), 50))[1] == pytest.approx(track(recording())[1], abs=1e-6)


def test_a_phone_without_gyroscope_still_has_its_accelerometer():
    bare = without_gyro(recording())
    assert {b.sensor for message in bare.messages for b in message} == {"accel"}
    assert len(track(bare)[0]) == 1000


def test_errors_are_as_large_as_asked_and_one_sensor_a_person():
    people = [recording(person=1), recording(person=1), recording(person=2)]
    errors = Errors(gain=0.05, accel_bias_m_s2=0.5)
    one, again, other = with_errors(people, errors, np.random.default_rng(3))
    assert (track(one)[1] == track(again)[1]).all()
    assert (track(one)[1] != track(other)[1]).any()
    slope = [
        np.polyfit(true, seen, 1)
        for true, seen in zip(track(recording())[1].T, track(one)[1].T, strict=True)
    ]
    assert np.abs(np.array(slope)[:, 0] - 1) == pytest.approx(0.05, abs=1e-3)
    assert np.abs(np.array(slope)[:, 1]) == pytest.approx(0.5, abs=1e-2)


def test_a_bias_is_converted_to_the_unit_of_the_recording():
    in_g = recording()
    messages = tuple(
        [SampleBatch("x", "accel", b.t, b.values / 9.80665, Declared("g"))]
        for message in in_g.messages
        for b in message
        if b.sensor == "accel"
    )
    in_g = Recording("g", 1, messages, ())
    (wrong,) = with_errors([in_g], Errors(accel_bias_m_s2=0.980665), np.random.default_rng(0))
    assert np.abs(track(wrong)[1] - track(in_g)[1]) == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("motion", NO_CLASS)
def test_made_up_motions_are_what_a_sensor_could_read(motion):
    t, accel = track(made_up(motion, np.random.default_rng(1)))
    assert len(t) == 3000
    assert np.isfinite(accel).all()
    assert 5 < np.median(np.linalg.norm(accel, axis=1)) < 40


def test_a_tumbling_phone_feels_gravity_from_all_sides_and_says_that_it_turns():
    tumbling = made_up("tumbling", np.random.default_rng(1))
    accel, gyro = track(tumbling)[1], track(tumbling, "gyro")[1]
    assert np.linalg.norm(accel, axis=1) == pytest.approx(9.81, abs=0.3)
    assert np.ptp(accel, axis=0).min() > 5
    turned = np.cross(accel[:-1], gyro[:-1]) / 50
    assert np.median(np.linalg.norm(np.diff(accel, axis=0) - turned, axis=1)) < 0.15
