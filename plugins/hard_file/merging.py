"""Several sensors' rows, each from a file of its own, merged by time at bounded memory.

Knows no format; called by those that keep one file a sensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hard_file.table import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Lane", "merged"]


class Lane:
    """One member's rows, read ahead so far that it is known which come next in time.

    Rows stay in file order.  They are ranked by the running maximum of their stamps without those
    that stand out above the next two, so that a lone wild stamp does not hold up the merge.
    """

    def __init__(self, name: str, blocks: Iterator[Rows]) -> None:
        self.name = name
        self.ended = False
        self._blocks = blocks
        self._rows: Rows | None = None
        self._rank: NDArray[np.int64] = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Return the number of rows that wait."""
        return len(self._rank)

    @property
    def hungry(self) -> bool:
        """Whether another block must be read before the rank of any row is settled."""
        return not self.ended and len(self) <= _UNSETTLED_ROWS

    @property
    def frontier(self) -> int:
        """The rank of the last row whose rank is settled."""
        return int(self._rank[-1 - _UNSETTLED_ROWS])

    def read_block(self) -> None:
        """Read one more block behind what waits."""
        block = next(self._blocks, None)
        if block is None:
            self.ended = True
        elif len(block):
            self._rows = block if self._rows is None else _joined(self._rows, block)
            self._rank = _rank(self._rows.t)

    def take(self, limit: int) -> Rows | None:
        """Remove and return the rows up to rank `limit`; None when there are none."""
        settled = len(self) if self.ended else len(self) - _UNSETTLED_ROWS
        n = int(np.searchsorted(self._rank[:settled], limit, side="right"))
        if self._rows is None or n == 0:
            return None
        taken, self._rows = _part(self._rows, slice(n)), _part(self._rows, slice(n, None))
        self._rank = self._rank[n:]
        return taken


_UNSETTLED_ROWS = 2


def merged(lanes: Sequence[Lane], needed: Sequence[str]) -> Iterator[list[tuple[str, Rows]]]:
    """Yield what the lanes hold up to one common time after another; empty lists on the way."""
    first = True
    while any(len(lane) or not lane.ended for lane in lanes):
        for lane in lanes:
            if lane.hungry:
                lane.read_block()
        if any(lane.hungry for lane in lanes):
            yield []
            continue
        if first and any(not len(lane) for lane in lanes if lane.name in needed):
            return
        first = False
        limit = min((lane.frontier for lane in lanes if not lane.ended), default=_LAST_NS)
        taken = [(lane.name, lane.take(limit)) for lane in lanes]
        yield [(name, rows) for name, rows in taken if rows is not None]


_LAST_NS = 2**63 - 1


def _rank(t: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank rows by time; one that both following rows belie takes its place before them."""
    smooth = t.copy()
    next_low, next_high = np.minimum(t[1:-1], t[2:]), np.maximum(t[1:-1], t[2:])
    smooth[:-2] = np.where(t[:-2] > next_high, next_low, t[:-2])
    ranked: NDArray[np.int64] = np.maximum.accumulate(smooth)
    return ranked


def _part(rows: Rows, part: slice) -> Rows:
    labels = None if rows.labels is None else rows.labels[part]
    return Rows(rows.row[part], rows.t[part], rows.values[part], labels)


def _joined(first: Rows, then: Rows) -> Rows:
    return Rows(
        np.concatenate((first.row, then.row)),
        np.concatenate((first.t, then.t)),
        np.concatenate((first.values, then.values)),
        None if first.labels is None or then.labels is None else first.labels + then.labels,
    )
