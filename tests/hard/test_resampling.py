"""Real stamps onto the grid: nothing lost, nothing invented, nothing that depends on blocks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S
from hard.resampling import HALF_WIDTH_PERIODS, taps_for
from tests.figures.resampling import RATES_HZ, SHARES, band_error_db
from tests.hard.signals import T0_NS, cuts, seeds, uniform

GRID_NS = NS_PER_S // 50


def resampled(t, x, grid, period_ns=GRID_NS):
    return taps_for(t, grid, period_ns).apply(x)


def sine(t, frequency_hz, phase=0.3):
    angle = 2 * np.pi * frequency_hz * ((t - T0_NS) / NS_PER_S) + phase
    return np.stack([np.sin(angle), np.cos(angle), 0.5 * np.sin(angle + 1)], axis=1)


def rms(x):
    return float(np.sqrt(np.mean(x**2)))


def jittered(n, seed):
    rng = np.random.default_rng(seed)
    t = T0_NS + np.arange(n) * GRID_NS + rng.integers(-(GRID_NS // 4), GRID_NS // 4, n)
    return t, rng.normal(size=(n, 3))


@settings(deadline=None, max_examples=30)
@given(seed=seeds, n=st.integers(2, 400))
def test_samples_on_the_grid_come_out_bit_for_bit(seed, n):
    t = T0_NS + np.arange(n) * GRID_NS
    x = np.random.default_rng(seed).normal(scale=20, size=(n, 3))
    assert np.array_equal(resampled(t, x, t), x)


def test_samples_on_the_grid_come_out_bit_for_bit_though_others_do_not_lie_on_it():
    t = np.delete(T0_NS + np.arange(300) * GRID_NS, [100, 200])
    t[50] += 1
    x = np.random.default_rng(0).normal(size=(298, 3))
    # Away from what is missing, whose neighbours fill in for it.
    apart = np.r_[0:30, 70:90, 120:190, 220:298]
    assert np.array_equal(resampled(t, x, t)[apart], x[apart])


def filter_period_ns(rate_hz):
    return max(GRID_NS, NS_PER_S / rate_hz)


@pytest.mark.parametrize("rate_hz", [20, 23.7, 31.25, 33, 45, 50, 52, 67, 92, 100, 104, 210, 400])
def test_a_band_limited_signal_is_kept_to_40_db(rate_hz):
    t = uniform(int(12 * rate_hz), rate_hz, T0_NS + 3_141_592)
    grid = T0_NS + 3 * NS_PER_S + np.arange(6 * 50) * GRID_NS
    for frequency_hz in np.linspace(0, 0.4 * min(rate_hz, 50), 25):
        wanted = sine(grid, frequency_hz)
        error = resampled(t, sine(t, frequency_hz), grid, filter_period_ns(rate_hz)) - wanted
        assert rms(error) < 0.01 * rms(wanted), frequency_hz


@pytest.mark.parametrize("rate_hz", [*RATES_HZ, 19.9, 20.24, 23.7, 31.25, 33.3, 45, 49.4, 52, 104])
def test_through_the_whole_conditioning_it_is_kept_to_40_db(rate_hz):
    assert {share: db for share in SHARES if (db := band_error_db(rate_hz, share)) > -40} == {}


@pytest.mark.parametrize("rate_hz", [100, 200, 400])
def test_what_would_alias_into_the_band_is_taken_out(rate_hz):
    t = uniform(int(12 * rate_hz), rate_hz)
    grid = T0_NS + 3 * NS_PER_S + np.arange(6 * 50) * GRID_NS
    for frequency_hz in np.linspace(0.61 * 50, rate_hz / 2, 20):
        signal = sine(t, frequency_hz)
        assert rms(resampled(t, signal, grid)) < 0.01 * rms(signal), frequency_hz


def test_a_constant_stays_a_constant_whatever_the_stamps():
    t, _ = jittered(500, 0)
    grid = T0_NS + np.arange(20, 480) * GRID_NS
    out = resampled(t, np.full((500, 3), 9.81), grid)
    assert np.abs(out - 9.81).max() < 1e-12


@settings(deadline=None, max_examples=40)
@given(seed=seeds, at=cuts(460), on_lattice=st.booleans(), rate_hz=st.sampled_from([20, 50, 173]))
def test_the_result_does_not_depend_on_how_the_grid_is_cut(seed, at, on_lattice, rate_hz):
    t, x = jittered(500, seed)
    if on_lattice:
        t = T0_NS + np.arange(500) * GRID_NS + seed % GRID_NS
    grid = T0_NS + np.arange(20, 480) * GRID_NS
    period_ns = filter_period_ns(rate_hz)
    whole = resampled(t, x, grid, period_ns)
    parts = [resampled(t, x, grid[a:b], period_ns) for a, b in pairwise(at) if a < b]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@settings(deadline=None, max_examples=30)
@given(seed=seeds, offset=st.integers(0, GRID_NS - 1))
def test_shared_weights_give_what_weights_of_ones_own_give(seed, offset):
    n = 300
    t = T0_NS + np.arange(n) * GRID_NS + offset
    x = np.random.default_rng(seed).normal(size=(n, 3))
    grid = T0_NS + np.arange(20, 200) * GRID_NS
    shared = taps_for(t, grid, GRID_NS)
    assert shared.weights.shape[1] == 1

    # A sample off the lattice, and grid points up to it: every point gets weights of its own.
    off = t.copy()
    off[280] += 1
    longer = T0_NS + np.arange(20, 285) * GRID_NS
    own = taps_for(off, longer, GRID_NS)
    assert own.weights.shape[1] == len(longer)
    assert own.apply(x)[: len(grid)].tobytes() == shared.apply(x).tobytes()


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    offset=st.sampled_from([0, 1, 5_000_000, -5_000_000]),
    begin=st.integers(0, 60),
    n=st.integers(1, 100),
)
def test_at_the_ends_of_the_samples_every_point_is_what_it_is_alone(seed, offset, begin, n):
    t = T0_NS + np.arange(60) * GRID_NS + offset
    x = np.random.default_rng(seed).normal(size=(60, 3))
    grid = T0_NS + np.arange(begin, begin + n) * GRID_NS
    alone = [resampled(t, x, grid[i : i + 1]) for i in range(n)]
    assert np.concatenate(alone).tobytes() == resampled(t, x, grid).tobytes()


@settings(deadline=None, max_examples=30)
@given(seed=seeds, at=st.integers(100, 400))
def test_a_value_depends_on_the_samples_within_the_support_only(seed, at):
    t, x = jittered(500, seed)
    grid = T0_NS + np.arange(20, 480) * GRID_NS
    before = resampled(t, x, grid)
    far = np.abs(t - (T0_NS + at * GRID_NS)) > HALF_WIDTH_PERIODS * GRID_NS
    changed = np.where(far[:, None], 1e6, x)
    assert np.array_equal(resampled(t, changed, grid)[at - 20], before[at - 20])
