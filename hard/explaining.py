"""How each window was judged, told: what the model said, which gate spoke, what came of it.

Called by `hard replay --explain`; `hard.decision` gives what is told here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hard.api import NS_PER_S, SampleBatch
from hard.replay import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hard.api import Message
    from hard.decision import Explained

__all__ = ["Stretch", "explained_line", "time_given"]

_ELAPSED = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{1,9})?)")


def explained_line(window: Explained, *, relative: bool) -> str:
    """Return a window in a line: from, to, stream, model, gate, filter, chosen, open bout."""
    gate = window.gate or "-"
    parts = (
        moment(window.t_start, relative=relative),
        moment(window.t_end, relative=relative),
        window.stream,
        f"model {_leading(window.probs):32}",
        f"gate {gate:10} distance {window.distance:5.2f} turn {window.turn:5.2f}",
        f"filter {_leading(window.posterior):32}",
        f"chosen {window.chosen:10}",
        f"bout {window.bout or '-'}",
    )
    return "  ".join(parts)


def _leading(probs: Mapping[str, float]) -> str:
    """Return the two most probable states."""
    ordered = sorted(probs.items(), key=lambda entry: -entry[1])[:2]
    return ", ".join(f"{state} {p:.0%}" for state, p in ordered)


def time_given(text: str) -> tuple[int, bool]:
    """Return ns of a time as people write it, and whether it counts from the recording's begin.

    That is RFC 3339 (without a zone: UTC), or [[h:]mm:]ss.s since the begin; ValueError otherwise.

    >>> time_given("1:00:02.5"), time_given("2024-01-01T00:00:00Z")
    ((3602500000000, True), (1704067200000000000, False))
    """
    if match := _ELAPSED.fullmatch(text):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return round((hours * 3600 + minutes * 60 + seconds) * NS_PER_S), True
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r}: give RFC 3339 (2024-01-01T08:30:00Z), or h:mm:ss since the begin"
        ) from error
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    since_1970 = when - datetime(1970, 1, 1, tzinfo=UTC)
    whole_s = since_1970.days * 86_400 + since_1970.seconds
    return whole_s * NS_PER_S + since_1970.microseconds * 1000, False


class Stretch:
    """The part of a recording that is asked for; it learns by `hear` when the recording began."""

    def __init__(self, begin: tuple[int, bool] | None, end: tuple[int, bool] | None) -> None:
        self._begin, self._end = begin, end
        self._first: int | None = None
        self.relative = False

    def hear(self, message: Message) -> None:
        """Take note of samples as they are fed."""
        for batch in message:
            if isinstance(batch, SampleBatch) and self._first is None:
                self._first = int(batch.t.min())
                self.relative = batch.declared.clock == "relative"

    def holds(self, window: Explained) -> bool:
        """Tell whether any of a window lies in it."""
        begin, end = self._at(self._begin), self._at(self._end)
        return (begin is None or window.t_end > begin) and (end is None or window.t_start < end)

    def _at(self, given: tuple[int, bool] | None) -> int | None:
        if given is None:
            return None
        t_ns, elapsed = given
        return t_ns + (self._first or 0) if elapsed else t_ns
