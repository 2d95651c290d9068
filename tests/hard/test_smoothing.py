"""`FixedLag` against every path there is, and `Averaged`."""

from __future__ import annotations

from itertools import pairwise, product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S
from hard.smoothing import Averaged, FixedLag
from tests.hard.signals import seeds

TRANSITIONS = [[0.9, 0.07, 0.03], [0.2, 0.7, 0.1], [0.25, 0.25, 0.5]]
likelihoods = st.lists(st.tuples(*(st.floats(0.01, 1),) * 3), min_size=1, max_size=6)


def fed(smoother, windows, t_s=None):
    """Return what the smoother says now, and what is final, by windows at so many seconds."""
    t_s = range(len(windows)) if t_s is None else t_s
    t_ns = [round(t * NS_PER_S) for t in t_s]
    return smoother.feed(np.array(windows, np.float64), t_ns)


def in_the_end(smoother, windows):
    """Return all posteriors."""
    _, final = fed(smoother, windows)
    return np.concatenate([final, smoother.flush()])


def by_every_path(windows: list[tuple[float, ...]], at: int) -> list[float]:
    """Return the posterior of window `at` given all of `windows`, by summing over all paths."""
    weights = [0.0] * 3
    for path in product(range(3), repeat=len(windows)):
        steps = prod(TRANSITIONS[a][b] for a, b in pairwise(path))
        weights[path[at]] += steps * prod(w[s] for w, s in zip(windows, path, strict=True))
    return [weight / sum(weights) for weight in weights]


@settings(deadline=None, max_examples=50)
@given(likelihoods, st.integers(0, 3))
def test_each_posterior_is_that_of_all_paths_through_what_was_seen_by_then(windows, lag):
    found = in_the_end(FixedLag(TRANSITIONS, lag), windows)
    assert len(found) == len(windows)
    for i, posterior in enumerate(found):
        assert posterior == pytest.approx(by_every_path(windows[: i + lag + 1], i), abs=1e-9)


def test_a_long_lag_does_not_sink_to_nothing():
    said = [[float(i % 3 == s) for s in range(3)] for i in range(1100)]
    found = in_the_end(FixedLag(TRANSITIONS, 1000), said)
    assert len(found) == len(said)
    assert found.sum(axis=1) == pytest.approx(1.0)


@settings(deadline=None, max_examples=50)
@given(likelihoods)
def test_now_each_posterior_is_that_of_all_paths_until_then(windows):
    now, _ = fed(FixedLag(TRANSITIONS, 2), windows)
    for i, posterior in enumerate(now):
        assert posterior == pytest.approx(by_every_path(windows[: i + 1], i), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(
    seed=seeds,
    states=st.integers(2, 13),
    lag=st.sampled_from([0, 1, 4]),
    at=st.lists(st.integers(0, 40), max_size=8),
)
def test_the_bits_are_the_same_wherever_the_windows_are_cut(seed, states, lag, at):
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(states), states).tolist()
    windows, t_s = rng.dirichlet(np.full(states, 0.3), 40), np.cumsum(rng.uniform(1, 3, 40))
    for make in (lambda: FixedLag(transitions, lag), lambda: Averaged(1.5), lambda: Averaged(0)):
        whole, parts = make(), make()
        together = [*fed(whole, windows, t_s), whole.flush()]
        told = []
        for a, b in pairwise([0, *sorted(at), 40]):
            if a < b:
                told.append(fed(parts, windows[a:b], t_s[a:b]))
        now, final = (np.concatenate(column).tolist() for column in zip(*told, strict=True))
        assert [now, final, parts.flush().tolist()] == [a.tolist() for a in together]


def test_after_a_flush_nothing_is_remembered():
    smoother = FixedLag(TRANSITIONS, 1)
    fed(smoother, [[1, 0.01, 0.01]])
    assert len(smoother.flush()) == 1
    assert len(smoother.flush()) == 0
    now, final = fed(smoother, [[0.2, 0.2, 0.6]])
    assert now[0] == pytest.approx([0.2, 0.2, 0.6])
    assert len(final) == 0


def test_no_window_rules_a_state_out():
    now, _ = fed(FixedLag(TRANSITIONS, 0), [[1, 0, 0]] + [[0, 1, 0]] * 8)
    assert now[-1, 1] > 0.99


def test_one_odd_window_does_not_outweigh_those_around_it():
    said = [(0.9, 0.1)] * 3 + [(0.2, 0.8)] + [(0.9, 0.1)] * 3
    assert (in_the_end(FixedLag([[0.97, 0.03], [0.03, 0.97]], 1), said)[:, 0] > 0.5).all()


def test_an_average_forgets_with_time_not_with_windows():
    often, _ = fed(Averaged(2.0), [[1, 0]] + [[0, 1]] * 4, [0, 0.5, 1, 1.5, 2])
    seldom, _ = fed(Averaged(2.0), [[1, 0], [0, 1]], [0, 2])
    assert often[-1] == pytest.approx(seldom[-1])


def test_without_a_constant_each_window_stands_for_itself():
    smoother = Averaged(0)
    _, final = fed(smoother, [[1, 0], [0, 3]])
    assert final.tolist() == [[1, 0], [0, 1]]
    assert len(smoother.flush()) == 0
