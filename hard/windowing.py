"""The ring buffer that cuts windows from grid points, at multiples of the stride since the epoch.

Pure, called by the pipeline (and by training).  Where a window starts depends on the grid alone,
not on when the daemon started; a window holds no gap and no border between segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hard.card import ModelInput
    from hard.conditioning import GridBlock

__all__ = ["WindowBatch", "Windower"]


@dataclass(frozen=True, slots=True, eq=False)
class WindowBatch:
    """Consecutive windows of one segment, ascending.

    `t_start`, `t_end` int64[w] (ns, end exclusive); `values` float32[w, T, C]; `coverage`
    float64[w], the share of grid points with a raw sample nearby; `run_start` int64[w], where the
    gap-free run began that the window lies in.
    """

    segment: int
    t_start: NDArray[np.int64]
    t_end: NDArray[np.int64]
    values: NDArray[np.float32]
    coverage: NDArray[np.float64]
    run_start: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.t_start)

    def part(self, keep: NDArray[np.bool_]) -> WindowBatch:
        """Return some of the windows."""
        return WindowBatch(
            self.segment,
            self.t_start[keep],
            self.t_end[keep],
            self.values[keep],
            self.coverage[keep],
            self.run_start[keep],
        )


class Windower:
    """The state of one stream; holds at most a window and one block of grid points."""

    def __init__(self, wanted: ModelInput, block_points: int = 16384) -> None:
        """`block_points` bounds how many grid points are taken up at a time."""
        self._wanted = wanted
        self._block = block_points
        size = wanted.window_samples + block_points
        self._values = np.empty((size, len(wanted.channels)), np.float32)
        self._covered = np.empty(size, bool)
        self._filled = 0
        self._k0 = 0  # grid index of the first point held
        self._run_k0 = 0
        self._segment = -1
        self.gaps = 0
        """Where what came did not continue what was there: gaps, and changes of segment."""

    def feed(self, block: GridBlock) -> Iterator[WindowBatch]:
        """Take grid points; yield the windows they complete."""
        edges = np.flatnonzero(np.diff(block.valid, prepend=False, append=False)).tolist()
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            for begin in range(a, b, self._block):
                end = min(b, begin + self._block)
                self._take(block, begin, end)
                windows = self._windows()
                if len(windows):
                    yield windows

    def _take(self, block: GridBlock, begin: int, end: int) -> None:
        """Put points [begin, end) of a block behind those held, or begin a new run with them."""
        k = block.k0 + begin
        if block.segment != self._segment or k != self._k0 + self._filled:
            self.gaps += self._segment >= 0
            self._segment, self._filled = block.segment, 0
            self._k0 = self._run_k0 = k
        n = end - begin
        if self._filled + n > len(self._values):
            self._discard(self._filled - self._wanted.window_samples)
        target = slice(self._filled, self._filled + n)
        self._values[target] = block.values[begin:end]
        self._covered[target] = block.covered[begin:end]
        self._filled += n

    def _windows(self) -> WindowBatch:
        """Cut every complete window and forget what no later one needs."""
        wanted = self._wanted
        stride, length = wanted.stride_samples, wanted.window_samples
        first = -(-self._k0 // stride) * stride
        starts = np.arange(first - self._k0, self._filled - length + 1, stride)
        t_start = (self._k0 + starts).astype(np.int64) * wanted.period_ns
        windows = WindowBatch(
            segment=self._segment,
            t_start=t_start,
            t_end=t_start + length * wanted.period_ns,
            values=_cut(self._values, starts, length, stride),
            coverage=_cut(self._covered, starts, length, stride).mean(axis=1),
            run_start=np.full(len(starts), self._run_k0 * wanted.period_ns, np.int64),
        )
        if len(starts):
            self._discard(int(starts[-1]) + min(stride, self._filled - int(starts[-1])))
        return windows

    def _discard(self, n: int) -> None:
        """Drop the first `n` points."""
        if n > 0:
            self._values[: self._filled - n] = self._values[n : self._filled]
            self._covered[: self._filled - n] = self._covered[n : self._filled]
            self._filled -= n
            self._k0 += n


def _cut(held: NDArray[Any], starts: NDArray[np.intp], length: int, stride: int) -> NDArray[Any]:
    """Return a copy of `length` points from each start on, [w, length, ...]; starts lie evenly."""
    if not len(starts):
        return np.empty((0, length, *held.shape[1:]), held.dtype)
    whole = sliding_window_view(held[starts[0] : starts[-1] + length], length, axis=0)
    return np.moveaxis(whole[::stride], -1, 1).copy(order="C")
