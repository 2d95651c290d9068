"""`FixedLag` against every path there is, and `Averaged`."""

from __future__ import annotations

from itertools import pairwise, product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.smoothing import Averaged, FixedLag

TRANSITIONS = [[0.9, 0.07, 0.03], [0.2, 0.7, 0.1], [0.25, 0.25, 0.5]]
likelihoods = st.lists(st.tuples(*(st.floats(0.01, 1),) * 3), min_size=1, max_size=6)


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
    smoother = FixedLag(TRANSITIONS, lag)
    found = [p for w in windows if (p := smoother.feed(w, 1.28)) is not None]
    found += smoother.flush()
    assert len(found) == len(windows)
    for i, posterior in enumerate(found):
        assert posterior == pytest.approx(by_every_path(windows[: i + lag + 1], i), abs=1e-9)


def test_a_long_lag_does_not_sink_to_nothing():
    smoother = FixedLag(TRANSITIONS, 1000)
    said = [[float(i % 3 == s) for s in range(3)] for i in range(1100)]
    found = [p for w in said if (p := smoother.feed(w, 1.28)) is not None] + smoother.flush()
    assert len(found) == len(said)
    assert all(sum(posterior) == pytest.approx(1.0) for posterior in found)


@settings(deadline=None, max_examples=50)
@given(likelihoods)
def test_the_latest_is_the_posterior_of_the_newest_window(windows):
    smoother = FixedLag(TRANSITIONS, 2)
    for i, window in enumerate(windows):
        smoother.feed(window, 1.28)
        assert smoother.latest == pytest.approx(by_every_path(windows[: i + 1], i), abs=1e-9)


def test_after_a_flush_nothing_is_remembered():
    smoother = FixedLag(TRANSITIONS, 1)
    smoother.feed([1, 0.01, 0.01], 1.28)
    assert len(smoother.flush()) == 1
    assert smoother.flush() == []
    assert smoother.latest == []
    smoother.feed([0.2, 0.2, 0.6], 1.28)
    assert smoother.latest == pytest.approx([0.2, 0.2, 0.6])


def test_no_window_rules_a_state_out():
    smoother = FixedLag(TRANSITIONS, 0)
    smoother.feed([1, 0, 0], 1.28)
    for _ in range(8):
        smoother.feed([0, 1, 0], 1.28)
    assert smoother.latest[1] > 0.99


def test_one_odd_window_does_not_outweigh_those_around_it():
    smoother = FixedLag([[0.97, 0.03], [0.03, 0.97]], 1)
    said = [(0.9, 0.1)] * 3 + [(0.2, 0.8)] + [(0.9, 0.1)] * 3
    found = [p for w in said if (p := smoother.feed(w, 1.28)) is not None] + smoother.flush()
    assert all(posterior[0] > 0.5 for posterior in found)


def test_an_average_forgets_with_time_not_with_windows():
    often, seldom = Averaged(2.0), Averaged(2.0)
    for smoother in (often, seldom):
        smoother.feed([1, 0], 0)
    for _ in range(4):
        often.feed([0, 1], 0.5)
    seldom.feed([0, 1], 2.0)
    assert often.latest == pytest.approx(seldom.latest)


def test_without_a_constant_each_window_stands_for_itself():
    smoother = Averaged(0)
    smoother.feed([1, 0], 0)
    assert smoother.feed([0, 3], 1.28) == [0, 1]
    assert smoother.flush() == []
