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


@pytest.mark.parametrize("name", [name for name in CHANNEL_SETS if name not in ("axes", "lie")])
def test_turning_the_phone_about_the_vertical_changes_nothing_that_is_looked_at(name):
    turned = augmented(windows(), Augmentation(any_heading=True), np.random.default_rng(0))
    assert np.abs(turned - windows()).max() > 1
    assert seen(turned, name) == pytest.approx(seen(windows(), name), abs=1e-3)


@pytest.mark.parametrize("name", ["own-magnitude", "own-shape", "own-faint"])
def test_no_turn_changes_what_is_seen_by_a_windows_own_gravity(name):
    turned = augmented(windows(), Augmentation(turn_deg=(90, 90, 90)), np.random.default_rng(0))
    assert np.abs(turned[:, :, 2].mean(axis=1) - 9.81).max() > 5
    assert seen(turned, name) == pytest.approx(seen(windows(), name), abs=1e-3)


@pytest.mark.parametrize("name", ["magnitude", "shape", "faint"])
def test_where_a_windows_own_gravity_is_upright_both_see_the_same(name):
    values = windows()
    values[:, :, :2] -= values[:, :, :2].mean(axis=1, keepdims=True)
    assert seen(values, f"own-{name}") == pytest.approx(seen(values, name), abs=2e-3)


def test_a_phone_put_back_the_other_way_round_lies_as_before():
    resting = np.zeros((1, 128, 3), np.float32) + np.float32([0, -9, 3])
    lies = seen(resting, "lie")
    assert lies[0, 0] == pytest.approx([0, 0.9487, 0.3162], abs=1e-3)
    assert (seen(-resting, "lie") == lies).all()


def test_a_step_twice_as_hard_has_the_same_shape():
    once, twice = (seen(windows(strength=s)[:, :, :6], "shape") for s in (4, 8))
    assert twice[:, :, :2] == pytest.approx(once[:, :, :2], rel=0.1, abs=0.05)
    assert np.abs(seen(windows(strength=8), "magnitude") - seen(windows(), "magnitude")).max() > 5


def test_tilt_is_the_horizontal_share_of_gravity_all_along():
    resting = np.zeros((1, 128, 3), np.float32) + np.float32([3, 4, 0])
    assert seen(resting, "tilt") == pytest.approx(np.full((1, 128, 1), 5 / 5.3), rel=1e-5)


@pytest.mark.parametrize(
    ("channels", "many"), [(6, 6 + 2 * (4 + 5 + 4) + 1 + 3), (3, 3 + 2 * (2 + 3 + 2) + 1 + 3)]
)
def test_without_a_gyroscope_fewer_channels_are_looked_at(channels, many):
    values = windows(channels=channels)
    assert seen(values, *CHANNEL_SETS).shape == (8, 128, many)


def test_a_phone_that_measures_nothing_gives_numbers_all_the_same():
    assert np.isfinite(seen(np.zeros((1, 128, 6), np.float32), *CHANNEL_SETS)).all()
