import numpy as np
import pytest

from hard_training.features import feature_names, features

RATE_HZ = 50


def columns(windows):
    found = features(np.asarray(windows, np.float32), RATE_HZ)
    names = feature_names(np.shape(windows)[2])
    assert len(names) == len(set(names)) == found.shape[1]
    return dict(zip(names, found.T, strict=True))


def wave(hz, n=128):
    return np.sin(2 * np.pi * hz * np.arange(n) / RATE_HZ)


def test_a_wave_is_told_by_its_mean_strength_and_frequency():
    window = np.zeros((1, 100, 6))
    window[0, :, 2] = 9.8 + 3 * wave(2.5, 100)
    told = columns(window)
    assert told["accel_z_mean"] == pytest.approx(9.8, abs=1e-4)
    assert told["accel_z_std"] == pytest.approx(3 / np.sqrt(2), rel=1e-4)
    assert told["accel_z_energy"] == pytest.approx(4.5, rel=1e-4)
    assert told["accel_z_dominant_hz"] == pytest.approx(2.5)
    assert told["accel_z_dominant_share"] == pytest.approx(1, abs=1e-4)
    assert told["accel_z_max"] == pytest.approx(12.8, abs=1e-3)
    assert told["accel_norm_mean"] == pytest.approx(9.8, abs=1e-4)


def test_channels_of_one_sensor_that_move_together_correlate():
    window = np.zeros((2, 128, 3))
    window[0, :, 0], window[0, :, 1] = wave(2), 5 * wave(2)
    window[1, :, 0], window[1, :, 1] = wave(2), -wave(2)
    assert columns(window)["accel_x_accel_y_correlation"] == pytest.approx([1, -1], abs=1e-5)


def test_a_signal_that_never_moves_has_no_frequency_and_no_correlation():
    told = columns(np.full((1, 128, 6), 9.81))
    assert told["gyro_x_dominant_hz"] == told["gyro_x_dominant_share"] == 0
    assert told["accel_x_accel_y_correlation"] == 0
    assert all(np.isfinite(column).all() for column in told.values())


def test_many_windows_have_the_features_that_each_has_alone():
    windows = np.random.default_rng(0).normal(0, 3, (5000, 16, 3)).astype(np.float32)
    together = features(windows, RATE_HZ)
    assert (together[4095:4098] == features(windows[4095:4098], RATE_HZ)).all()


def test_no_windows_have_no_features():
    none = features(np.empty((0, 128, 6), np.float32), RATE_HZ)
    assert none.shape == (0, len(feature_names(6)))
