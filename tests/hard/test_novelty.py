"""`hard.novelty` on made-up motion."""

from __future__ import annotations

import numpy as np
import pytest

from hard.card import Usual
from hard.novelty import TRAITS, novelty, traits

PERIOD_S = 0.02


def motion(n: int, seed: int = 0, amplitude: float = 3.0, hz: float = 2.0) -> np.ndarray:
    """Return windows float32[n, 128, 6] of gravity and a wave, each a little different."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(128) * PERIOD_S
    wave = np.sin(2 * np.pi * hz * t_s + rng.uniform(0, 6.3, (n, 1)))
    windows = rng.normal(0, 0.2, (n, 128, 6))
    windows[:, :, 2] += 9.81
    windows[:, :, :3] += (rng.normal(amplitude, 0.3, (n, 1)) * wave)[:, :, None] * [0.2, 0.3, 0.9]
    windows[:, :, 3:] += wave[:, :, None] * 0.5
    return windows.astype(np.float32)


def usual_of(windows: np.ndarray) -> Usual:
    found, _ = traits(windows)
    precision = np.linalg.inv(np.cov(found.T) + 1e-4 * np.eye(found.shape[1]))
    return Usual(
        traits=TRAITS[: found.shape[1]],
        means=(tuple(found.mean(axis=0)),),
        precisions=(tuple(map(tuple, precision)),),
        max_distance=30,
        max_turn_deg=10,
    )


@pytest.mark.parametrize("channels", [3, 6])
def test_the_traits_do_not_depend_on_how_many_windows_come_at_a_time(channels):
    windows = motion(33)[:, :, :channels]
    together, turn = traits(windows)
    assert together.shape == (33, len(TRAITS) if channels == 6 else 6)
    usual = usual_of(motion(400)[:, :, :channels])
    whole = novelty(windows, usual)
    for n in (1, 2, 5, 16):
        for i in range(0, 33, n):
            some, turned = traits(windows[i : i + n])
            assert some.tolist() == together[i : i + n].tolist()
            assert turned.tolist() == turn[i : i + n].tolist()
            part = novelty(windows[i : i + n], usual)
            assert part.distance.tolist() == whole.distance[i : i + n].tolist()
            assert part.spread.tolist() == whole.spread[i : i + n].tolist()


def test_turning_the_device_changes_nothing():
    windows = motion(20)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = np.concatenate([windows[:, :, :3] @ turn, windows[:, :, 3:] @ turn], axis=2)
    assert traits(turned.astype(np.float32))[0] == pytest.approx(traits(windows)[0], abs=1e-3)


def test_what_was_trained_on_is_familiar_and_shaking_is_not():
    usual = usual_of(motion(400))
    assert (novelty(motion(100, seed=1), usual).distance < 1).mean() > 0.97
    assert (novelty(motion(100, amplitude=25, hz=6), usual).distance > 1).all()


def test_a_window_in_which_gravity_turns_is_told():
    windows = motion(5)
    tilt = np.radians(np.linspace(0, 60, 128))
    windows[:, :, 0] += 9.81 * np.sin(tilt)
    windows[:, :, 2] += 9.81 * (np.cos(tilt) - 1)
    assert (novelty(windows, usual_of(motion(400))).turn > 2).all()


def test_the_spread_is_that_of_acceleration_in_m_s2():
    rng = np.random.default_rng(0)
    resting = rng.normal((0, 0, 9.81), 0.05, (50, 128, 3))
    spread = novelty(resting.astype(np.float32), None).spread
    assert spread == pytest.approx(0.05 * 3**0.5, rel=0.15)


def test_without_a_card_that_knows_nothing_is_unusual():
    found = novelty(motion(3, amplitude=40), None)
    assert not found.distance.any()
    assert not found.turn.any()
