"""Two devices that send under one name are told apart, where their messages say whose they are.

Sensor Logger's do (`deviceId`).  Mixed into one stream they would be two wearers in one, most of
it late.  Pure: the caller gives the time.  Called by `receiving` for every message with an id.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from hard_formats.series import Refused

AT_ONCE_S: Final = 30.0
"""Two devices that are heard within this time are two; else one has taken the other's place."""
MOST_OTHERS: Final = 4


@dataclass(slots=True)
class _Name:
    """A name's device, when it was last heard (s), and the others that were told from it."""

    device: str
    last_s: float
    others: dict[str, None] = field(default_factory=dict)


class Devices:
    """Knows which device has which name, of the `most` names that were heard last.

    The first one heard has the name.  One that is heard at once with it is another, and stays so
    even when the first falls silent: its wearer is another.  One that is first heard when the name
    was silent for 30 s takes it over: an app that was installed anew, a phone that was replaced.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: OrderedDict[str, _Name] = OrderedDict()

    def other_than(self, name: str, device: str, now_s: float) -> str | None:
        """Take note of a message; return the device that has the name if it is not this one.

        `now_s` is a monotonic time.  Raises `Refused` for a device beyond the few that may send
        under one name: an id that changes with every message names nobody.
        """
        known = self._names.setdefault(name, _Name(device, now_s))
        self._names.move_to_end(name)
        if len(self._names) > self._most:
            self._names.popitem(last=False)
        if device not in known.others and now_s - known.last_s > AT_ONCE_S:
            known.device = device
        if device == known.device:
            known.last_s = now_s
            return None
        if device not in known.others and len(known.others) >= MOST_OTHERS:
            raise Refused(
                "too_many_devices",
                f"{len(known.others) + 2} devices send as stream {name!r}: give each of them a "
                "name of its own",
            )
        known.others[device] = None
        return known.device
