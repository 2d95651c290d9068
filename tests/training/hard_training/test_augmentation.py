import numpy as np
import pytest

from hard_training.augmentation import Augmentation, augmented


def windows(n=16, channels=6):
    return np.random.default_rng(7).normal(0, 5, (n, 32, channels)).astype(np.float32)


def seeded():
    return np.random.default_rng(0)


def test_augmentation_of_nothing_changes_nothing():
    assert augmented(windows(), Augmentation(), seeded()) == pytest.approx(windows(), abs=1e-5)


@pytest.mark.parametrize(
    "by", [Augmentation(turn_deg=(20, 20, 20)), Augmentation(half_turn=1), Augmentation(mirror=0)]
)
def test_a_phone_put_on_differently_feels_the_same_strength(by):
    other = augmented(windows(), by, seeded())
    for sensor in (slice(0, 3), slice(3, 6)):
        before, after = (np.linalg.norm(x[:, :, sensor], axis=2) for x in (windows(), other))
        assert after == pytest.approx(before, rel=1e-4)
    assert np.abs(other - windows()).max() > 1


def test_a_turn_about_one_axis_keeps_what_that_axis_reads():
    turned = augmented(windows(), Augmentation(turn_deg=(0, 40, 0)), seeded())
    assert turned[:, :, [1, 4]] == pytest.approx(windows()[:, :, [1, 4]], abs=1e-4)
    assert np.abs(turned[:, :, 0] - windows()[:, :, 0]).max() > 1


def test_a_half_turn_about_y_reverses_x_and_z_of_both_sensors_in_half_of_the_windows():
    x = windows(200)
    turned = augmented(x, Augmentation(half_turn=1), seeded())
    kept = np.isclose(turned, x, atol=1e-4).all(axis=(1, 2))
    reversed_xz = x * np.float32([-1, 1, -1, -1, 1, -1])
    assert np.isclose(turned[~kept], reversed_xz[~kept], atol=1e-4).all()
    assert 60 < kept.sum() < 140


def test_a_mirror_along_x_reverses_acceleration_along_it_and_turning_about_the_others():
    x = windows(200)
    mirrored = augmented(x, Augmentation(mirror=0), seeded())
    kept = np.isclose(mirrored, x, atol=1e-4).all(axis=(1, 2))
    expected = x * np.float32([-1, 1, 1, 1, -1, -1])
    assert np.isclose(mirrored[~kept], expected[~kept], atol=1e-4).all()
    assert 60 < kept.sum() < 140


def test_sensor_errors_stay_the_same_throughout_a_window():
    by = Augmentation(gain=0.1, accel_bias_m_s2=1, gyro_bias_rad_s=0.5)
    change = augmented(np.zeros_like(windows()), by, seeded())
    assert (change == change[:, :1]).all()
    assert change[:, 0, :3].std() == pytest.approx(1, rel=0.3)
    assert change[:, 0, 3:].std() == pytest.approx(0.5, rel=0.3)


def test_windows_without_a_gyroscope_are_taken_too():
    by = Augmentation(turn_deg=(5, 5, 5), gain=0.1, half_turn=1, mirror=0)
    assert augmented(windows(channels=3), by, seeded()).shape == (16, 32, 3)
