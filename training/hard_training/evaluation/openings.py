"""How often the official test people were looked at: a line per look, never taken back.

A figure on test people is worth the less the more often somebody looked before deciding.  Called
by every command that shows one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FILE_NAME", "log_opening", "openings"]

FILE_NAME = "test-openings.jsonl"


def log_opening(
    folder: Path, command: str, what: str, data_set: str, figures: Mapping[str, Any]
) -> int:
    """Append one look to `folder`/test-openings.jsonl; return how often this data set's were.

    `what` is the model's identity or a hash of what was trained, `figures` what was seen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    line = {
        "opened": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "data_set": data_set,
        "command": command,
        "what": what,
        "figures": dict(figures),
    }
    with (folder / FILE_NAME).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, ensure_ascii=False) + "\n")
    return sum(opening.get("data_set") == data_set for opening in openings(folder))


def openings(folder: Path) -> list[dict[str, Any]]:
    """Return the looks that were logged, the first one first, but for lines that a crash cut."""
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            opening = json.loads(line)
        except ValueError:
            continue
        if isinstance(opening, dict):
            found.append(opening)
    return found
