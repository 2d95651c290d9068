"""What networks look at instead of the raw axes; that the edge computes the same: `test_export`."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

from hard_training.augmentation import Augmentation, augmented  # noqa: E402 - after the skip
from hard_training.front import CHANNEL_SETS, looked_at  # noqa: E402


def windows(n=8, channels=6, strength=1.0):
    """Steps of somebody whose phone is upright, each window of another direction."""
    rng = np.random.default_rng(4)
    values = strength * rng.normal(0, 2, (n, 128, channels))
    values[:, :, 2] += 9.81
    return values.astype(np.float32)


def seen(values, *sets):
    return looked_at(values, sets).numpy()


@pytest.mark.parametrize("name", [name for name in CHANNEL_SETS if name != "axes"])
def test_turning_the_phone_about_the_vertical_changes_nothing_that_is_looked_at(name):
    turned = augmented(windows(), Augmentation(any_heading=True), np.random.default_rng(0))
    assert np.abs(turned - windows()).max() > 1
    assert seen(turned, name) == pytest.approx(seen(windows(), name), abs=1e-3)


def test_a_step_twice_as_hard_has_the_same_shape():
    once, twice = (seen(windows(strength=s)[:, :, :6], "shape") for s in (4, 8))
    assert twice[:, :, :2] == pytest.approx(once[:, :, :2], rel=0.1, abs=0.05)
    assert np.abs(seen(windows(strength=8), "magnitude") - seen(windows(), "magnitude")).max() > 5


def test_tilt_is_the_horizontal_share_of_gravity_all_along():
    resting = np.zeros((1, 128, 3), np.float32) + np.float32([3, 4, 0])
    assert seen(resting, "tilt") == pytest.approx(np.full((1, 128, 1), 5 / 5.3), rel=1e-5)


@pytest.mark.parametrize(("channels", "many"), [(6, 6 + 4 + 5 + 1 + 4), (3, 3 + 2 + 3 + 1 + 2)])
def test_without_a_gyroscope_fewer_channels_are_looked_at(channels, many):
    values = windows(channels=channels)
    assert seen(values, *CHANNEL_SETS).shape == (8, 128, many)


def test_a_phone_that_measures_nothing_gives_numbers_all_the_same():
    assert np.isfinite(seen(np.zeros((1, 128, 6), np.float32), *CHANNEL_SETS)).all()
