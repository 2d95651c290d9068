"""Time zones by their IANA names: the wearer's as configured, else this machine's.

The zones are the system's; where it has none, those of the package tzdata.

Called by the configuration; `hard.daily` is handed what is found here.
"""

from __future__ import annotations

import os
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["machine_zone", "zone_named"]


def zone_named(name: str) -> tzinfo:
    """Return a zone by its IANA name; raises ValueError with the remedy."""
    if name == "UTC":
        return UTC  # known without a database
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r}: give an IANA name such as Europe/Berlin"
        ) from error


def machine_zone(localtime: Path = Path("/etc/localtime")) -> tzinfo:
    """Return this machine's zone: $TZ, else where /etc/localtime points to, else UTC."""
    told = os.environ.get("TZ", "").removeprefix(":")
    _, found, linked = str(localtime.resolve()).partition("/zoneinfo/")
    for name in (told, linked if found else ""):
        try:
            return zone_named(name)
        except ValueError:
            continue
    return UTC
