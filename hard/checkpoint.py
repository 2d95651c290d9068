"""What the daemon learned of its streams, kept from one run to the next in the state directory.

Only which way is up (`hard.upright`): bouts and events have the event log.  A file that can't be
read costs the knowledge, never the start.  Called by the command line.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from hard.outputs import written_aside
from hard.upright import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["load_references", "save_references"]

_log = logging.getLogger(__name__)


def load_references(path: Path) -> dict[str, Reference]:
    """Return stream -> which way is up, as saved; none, said once, where the file is no good."""
    try:
        saved = json.loads(path.read_text("utf-8"))
        return {stream: Reference.from_json(state) for stream, state in saved.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        _log.warning("%s: can't be used (%s): which way is up is learned anew", path, error)
        return {}


def save_references(path: Path, references: Mapping[str, Reference]) -> None:
    """Replace the file, in a folder made anew if it was removed; a failure is only logged."""
    saved = {stream: reference.to_json() for stream, reference in references.items()}
    try:
        if not path.parent.is_dir():
            _log.warning("%s: removed while it was in use, it is made again", path.parent)
            path.parent.mkdir(parents=True)
        with written_aside(path) as out:
            json.dump(saved, out, indent=1)
    except OSError as error:
        _log.warning("%s: can't be written: %s", path, error)
