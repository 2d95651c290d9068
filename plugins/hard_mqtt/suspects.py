"""Which message makes the broker end the connection: found by sending the suspects alone.

One message that a broker takes for malformed, or for too large, would be sent again on every new
connection and hold up all others for ever.  `MqttSink` tells of each ending, and asks before it
sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

TRIES: Final = 3
"""So many endings in a row with the same message unanswered, and it is set aside."""
_MAX: Final = 1000


class Suspects:
    """Messages, by a key, that were unanswered when the broker ended a connection."""

    def __init__(self) -> None:
        self._endings: dict[Hashable, int] = {}
        self._aside: set[Hashable] = set()

    def __contains__(self, key: Hashable) -> bool:
        """Tell whether a message must be sent alone, so that the next ending is of its making."""
        return key in self._endings

    def blame(self, keys: Iterable[Hashable]) -> list[Hashable]:
        """Take note of what was unanswered at an ending; return what is set aside for it now.

        >>> suspects = Suspects()
        >>> [suspects.blame(keys) for keys in (["a", "b"], ["b"], ["b"])]
        [[], [], ['b']]
        """
        convicted = []
        for key in keys:
            self._endings[key] = self._endings.get(key, 0) + 1
            if self._endings[key] >= TRIES:
                del self._endings[key]
                self._aside.add(key)
                convicted.append(key)
        while len(self._endings) > _MAX:
            del self._endings[next(iter(self._endings))]
        return convicted

    def acquit(self, key: Hashable) -> None:
        """Take note that the broker answered a message."""
        self._endings.pop(key, None)

    def is_repeated(self, keys: Iterable[Hashable]) -> bool:
        """Tell whether one of the messages was unanswered at more than one ending."""
        return any(self._endings.get(key, 0) > 1 or key in self._aside for key in keys)

    def is_aside(self, key: Hashable) -> bool:
        """Tell whether a message must not be sent any more."""
        return key in self._aside
