import numpy as np
import pytest

from hard_training.augmentation import Augmentation, augmented, upright


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


def test_any_heading_keeps_what_is_vertical_and_how_much_is_level():
    x = windows(200)
    turned = augmented(x, Augmentation(any_heading=True), seeded())
    assert turned[:, :, [2, 5]] == pytest.approx(x[:, :, [2, 5]], abs=1e-4)
    level = np.linalg.norm(x[:, :, :2], axis=2)
    assert np.linalg.norm(turned[:, :, :2], axis=2) == pytest.approx(level, rel=1e-4)
    first = turned[:, 0, 0] + 1j * turned[:, 0, 1], x[:, 0, 0] + 1j * x[:, 0, 1]
    heading = np.angle(first[0] / first[1])
    assert [((heading > a) & (heading < a + np.pi / 2)).sum() > 25 for a in (-3.14, -1.57, 0, 1.57)]
    assert np.abs(np.exp(1j * heading).mean()) < 0.2


def test_in_the_upright_frame_only_tilt_and_heading_of_the_turns_remain():
    device = Augmentation(turn_deg=(10, 40, 10), gain=0.05, half_turn=1, mirror=0)
    assert upright(device) == Augmentation(
        turn_deg=(5, 5, 0), gain=0.05, mirror=0, any_heading=True
    )


def test_sensor_errors_stay_the_same_throughout_a_window():
    by = Augmentation(gain=0.1, accel_bias_m_s2=1, gyro_bias_rad_s=0.5)
    change = augmented(np.zeros_like(windows()), by, seeded())
    assert (change == change[:, :1]).all()
    assert change[:, 0, :3].std() == pytest.approx(1, rel=0.3)
    assert change[:, 0, 3:].std() == pytest.approx(0.5, rel=0.3)


def strides(hz, n=64, samples=128):
    """Windows of gravity and a swing of 2 m/s² along x, at 50 Hz."""
    values = np.zeros((n, samples, 6), np.float32)
    values[:, :, 0] = 2 * np.sin(2 * np.pi * hz * np.arange(samples) / 50)
    values[:, :, 2] = 9.81
    return values


def test_a_warp_in_time_makes_steps_slower_and_faster_by_so_much_at_most():
    warped = augmented(strides(4), Augmentation(time_warp=0.2), seeded())[:, 16:112, 0]
    crossings = (np.diff(np.sign(warped), axis=1) != 0).sum(axis=1)
    as_before = 2 * 4 * 95 / 50
    assert crossings.min() == pytest.approx(as_before * 0.8, abs=1.5)
    assert crossings.max() == pytest.approx(as_before * 1.2, abs=1.5)


def test_a_sensor_of_another_response_changes_the_swing_and_leaves_gravity():
    changed = augmented(strides(3.125), Augmentation(response=0.5), seeded())
    assert changed.mean(axis=1) == pytest.approx(strides(3.125).mean(axis=1), abs=1e-3)
    swing = np.ptp(changed[:, :, 0], axis=1) / 4
    assert np.log(swing).std() == pytest.approx(0.5, rel=0.3)


def test_a_motion_is_made_weaker_and_stronger_between_two_factors():
    changed = augmented(strides(3.125), Augmentation(strength=(0.4, 1.2)), seeded())
    assert changed.mean(axis=1) == pytest.approx(strides(3.125).mean(axis=1), abs=1e-3)
    swing = np.ptp(changed[:, :, 0], axis=1) / np.ptp(strides(3.125)[:, :, 0], axis=1)
    assert 0.4 <= swing.min() < 0.5
    assert 1.1 < swing.max() <= 1.2001


def test_a_turn_of_the_wearer_is_up_to_half_way_round_about_the_windows_own_vertical():
    resting = np.zeros((500, 128, 6), np.float32) + np.float32([0, -9.8, 0, 0, 0, 0])
    turned = augmented(resting, Augmentation(turning=0.5), seeded())
    angle_rad = turned[:, :, 4].sum(axis=1) / 50
    assert turned[:, :, [0, 1, 2, 3, 5]] == pytest.approx(resting[:, :, [0, 1, 2, 3, 5]], abs=1e-5)
    assert np.pi * 0.9 < np.abs(angle_rad).max() < np.pi * 1.01
    assert 0.4 < (angle_rad == 0).mean() < 0.6


def test_windows_without_a_gyroscope_are_taken_too():
    by = Augmentation(turn_deg=(5, 5, 5), gain=0.1, half_turn=1, mirror=0)
    assert augmented(windows(channels=3), by, seeded()).shape == (16, 32, 3)
