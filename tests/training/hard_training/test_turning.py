import numpy as np
import pytest

from hard.api import Declared, SampleBatch
from hard.card import ModelInput
from hard_training.datasets import Recording, Segment
from hard_training.turning import turned_phones
from hard_training.windows import labelled_windows

PERIOD_NS = 20_000_000
UP = np.array([0.2, -0.9, 0.3]) / np.linalg.norm([0.2, -0.9, 0.3])
DEVICE = ModelInput(
    channels=("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"),
    sampling_rate_hz=50,
    window_samples=128,
    stride_samples=64,
)
UPRIGHT = DEVICE.model_copy(update={"frame": "upright"})


def walk(person=1, seconds=30):
    rng = np.random.default_rng(person)
    t = np.arange(seconds * 50, dtype=np.int64) * PERIOD_NS
    phase = 2 * np.pi * 1.9 * t / 1e9
    wave = 4 * np.sin(phase) + np.sin(phase / 2)
    accel = np.outer(9.81 + wave, UP) + rng.normal(0, 0.3, (len(t), 3))
    gyro = np.outer(wave, (1, 0.2, 0)) + rng.normal(0, 0.1, (len(t), 3))
    message = (
        SampleBatch("x", "accel", t, accel.astype(np.float32), Declared("m/s2")),
        SampleBatch("x", "gyro", t, gyro.astype(np.float32), Declared("rad/s")),
    )
    whole = Segment(0, seconds * 50 * PERIOD_NS, "walking")
    return Recording("walk", person, (message,), (whole,))


def turned(how, seed=0, recordings=None):
    rng = np.random.default_rng(seed)
    return turned_phones(recordings or [walk()], how, UPRIGHT, rng)


def values(recordings, wanted):
    return labelled_windows(recordings, ["walking"], wanted).values


def test_a_phone_that_is_not_turned_is_the_same():
    same = walk()
    assert turned("no", recordings=[same]) == [same]


@pytest.mark.parametrize("how", ["heading", "any"])
def test_a_turned_phone_feels_the_same_strength_along_other_axes(how):
    plain, other = values([walk()], DEVICE), values(turned(how), DEVICE)
    for sensor in (slice(0, 3), slice(3, 6)):
        before, after = (np.linalg.norm(x[:, :, sensor], axis=2) for x in (plain, other))
        assert after == pytest.approx(before, abs=1e-3)
    assert np.abs(other - plain).max() > 1


def test_another_heading_leaves_the_vertical_alone_and_any_turn_does_not():
    plain = values([walk()], DEVICE)[:, :, :3] @ UP
    assert values(turned("heading"), DEVICE)[:, :, :3] @ UP == pytest.approx(plain, abs=0.3)
    assert np.abs(values(turned("any"), DEVICE)[:, :, :3] @ UP - plain).max() > 5


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["heading", "any"])
def test_in_the_upright_frame_a_turned_phone_differs_in_heading_alone(how, seed):
    plain, other = values([walk()], UPRIGHT), values(turned(how, seed), UPRIGHT)
    assert other[:, :, [2, 5]] == pytest.approx(plain[:, :, [2, 5]], abs=1e-3)
    for level in (slice(0, 2), slice(3, 5)):
        before, after = (np.linalg.norm(x[:, :, level], axis=2) for x in (plain, other))
        assert after == pytest.approx(before, abs=1e-3)


def test_each_person_has_a_turn_of_their_own_for_all_their_recordings():
    one, again, other = turned("any", recordings=[walk(1), walk(1), walk(2)])
    firsts = [r.messages[0][0].values[0] for r in (one, again, other)]
    assert (firsts[0] == firsts[1]).all()
    assert np.abs(firsts[0] - firsts[2]).max() > 1
