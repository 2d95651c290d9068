"""Windows: on the stride's own grid, whole, of one segment, whatever the blocks."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.conditioning import GridBlock
from hard.windowing import Windower
from tests.hard.signals import ACCEL_ONLY, T0_NS, cuts

K0 = T0_NS // ACCEL_ONLY.period_ns


def wanted(window=16, stride=8):
    return ACCEL_ONLY.model_copy(update={"window_samples": window, "stride_samples": stride})


def block(n, k0=K0, *, segment=0, valid=None, covered=None):
    """Return grid points whose values say which ones they are."""
    values = (k0 + np.arange(n) - K0)[:, None] * np.float32([1, 2, 3])
    ones = np.ones(n, bool)
    return GridBlock(
        segment,
        k0,
        values.astype(np.float32),
        ones if valid is None else np.asarray(valid, bool),
        ones if covered is None else np.asarray(covered, bool),
    )


def part(whole, a, b):
    return GridBlock(
        whole.segment,
        whole.k0 + a,
        whole.values[a:b],
        whole.valid[a:b],
        whole.covered[a:b],
    )


def cut(blocks, input_, **options):
    """Return (segment, first grid index, values, coverage, run start) of every window."""
    windower = Windower(input_, **options)
    period_ns = input_.period_ns
    found = []
    for given_block in blocks:
        for batch in windower.feed(given_block):
            assert len(batch) > 0
            assert (batch.t_end - batch.t_start == input_.window_samples * period_ns).all()
            assert not (batch.t_start % period_ns).any()
            found += zip(
                [batch.segment] * len(batch),
                (batch.t_start // period_ns).tolist(),
                batch.values,
                batch.coverage.tolist(),
                (batch.run_start // period_ns).tolist(),
                strict=True,
            )
    return found


def expected(blocks, input_):
    """Return the same by looking at every multiple of the stride on its own."""
    found = []
    for whole in blocks:
        ends = np.flatnonzero(~np.append(whole.valid, False))
        for i in range(len(whole.values)):
            k, stop = whole.k0 + i, i + input_.window_samples
            inside = stop <= len(whole.values) and whole.valid[i:stop].all()
            if inside and k % input_.stride_samples == 0:
                before = ends[ends < i]
                begin = int(before[-1]) + 1 if len(before) else 0
                coverage = float(whole.covered[i:stop].mean())
                values = whole.values[i:stop]
                found.append((whole.segment, k, values, coverage, whole.k0 + begin))
    return found


def same(left, right):
    return len(left) == len(right) and all(
        (a[0], a[1], a[3], a[4]) == (b[0], b[1], b[3], b[4]) and np.array_equal(a[2], b[2])
        for a, b in zip(left, right, strict=True)
    )


@st.composite
def points(draw):
    """Draw a segment's grid points with invalid and uncovered ones."""
    n = draw(st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    valid = np.ones(n, bool)
    for at in draw(st.lists(st.integers(0, n - 1), max_size=4)):
        valid[at : at + int(rng.integers(1, 40))] = False
    k0 = K0 + draw(st.integers(-50, 50))
    return block(n, k0, valid=valid, covered=rng.random(n) < 0.9)


@settings(deadline=None, max_examples=80)
@given(
    data=st.data(),
    whole=points(),
    window=st.integers(8, 40),
    stride=st.integers(1, 60),
    block_points=st.sampled_from([1, 7, 64, 4096]),
)
def test_windows_hold_just_the_grid_points_whatever_the_blocks(
    data, whole, window, stride, block_points
):
    input_ = wanted(window, stride)
    at = data.draw(cuts(len(whole.values)))
    parts = [part(whole, a, b) for a, b in pairwise(at)]
    wants = expected([whole], input_)
    assert same(cut([whole], input_, block_points=block_points), wants)
    assert same(cut(parts, input_, block_points=block_points), wants)


@settings(deadline=None, max_examples=25)
@given(whole=points(), other=points(), at=st.integers(0, 400))
def test_no_window_straddles_two_segments(whole, other, at):
    at = min(at, len(whole.values))
    # The next segment may go on where this one ended, or anywhere.
    for k0 in (whole.k0 + at, other.k0):
        following = GridBlock(1, k0, other.values, other.valid, other.covered)
        blocks = [part(whole, 0, at), following]
        assert same(cut(blocks, wanted()), expected(blocks, wanted()))


def test_windows_start_at_multiples_of_the_stride_since_the_epoch():
    starts = [k for _, k, *_ in cut([block(500, K0 + 3)], wanted(128, 64))]
    assert starts == [k for k in range(K0 + 3, K0 + 373) if k % 64 == 0]


def test_where_feeding_begins_does_not_move_the_windows():
    whole = {k for _, k, *_ in cut([block(500)], wanted())}
    later = {k for _, k, *_ in cut([block(400, K0 + 100)], wanted())}
    assert later == {k for k in whole if k >= K0 + 100}


@pytest.mark.parametrize("stride", [8, 64, 1000, 4096])
def test_memory_does_not_grow(stride):
    windower = Windower(wanted(16, stride), block_points=128)
    size = len(windower._values)
    for i in range(200):
        list(windower.feed(block(100, K0 + 100 * i)))
    assert len(windower._values) == size
    assert windower._filled <= size


def test_some_windows_of_a_batch_are_a_batch():
    (batch,) = Windower(wanted()).feed(block(100))
    odd = np.arange(len(batch)) % 2 == 1
    assert np.array_equal(batch.part(odd).t_start, batch.t_start[1::2])
    assert len(batch.part(~odd)) + len(batch.part(odd)) == len(batch)
