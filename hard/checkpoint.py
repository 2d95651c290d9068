"""What the daemon learned of its streams, kept in the event log from one run to the next.

Which way is up (`hard.upright`), and since when a calibration waits.  What can't be read costs the
knowledge, never the start.  Called by the command line.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from hard.eventfile import EventLogError, reading, stored_states

if TYPE_CHECKING:
    from pathlib import Path

    from hard.eventlog import EventLog
    from hard.pipeline import Pipeline

__all__ = ["adopt_references", "known_in", "recall"]

_COMMIT_S = 5.0

_log = logging.getLogger(__name__)


def recall(log: EventLog, pipeline: Pipeline) -> None:
    """Let a pipeline that is new know what an earlier run stored of its streams."""
    try:
        known = log.states()
    except EventLogError as error:
        _log.warning("what was known of the streams is learned anew: %s", error)
        return
    for stream, state in known.items():
        try:
            pipeline.remember(stream, state)
        except (ValueError, TypeError, AttributeError) as error:
            log.counts["bad_states"] += 1
            _log.warning("stream %r: what was known of it is learned anew: %s", stream, error)


def known_in(path: Path) -> dict[str, Any]:
    """Return stream -> what is stored of it in a log that may be in use; none where it can't be.

    Without pauses that have run out: a daemon may store that later.
    """
    try:
        with closing(reading(path)) as db:
            known = {stream: json.loads(text) for stream, text in stored_states(db)}
            return {stream: _without_past_pause(state) for stream, state in known.items()}
    except (EventLogError, ValueError, RecursionError) as error:
        _log.debug("nothing is known of any stream: %s", error)
        return {}


def _without_past_pause(state: Any) -> Any:
    until_ns = state.get("paused_until_ns") if isinstance(state, dict) else None
    is_past = isinstance(until_ns, int) and until_ns <= time.time_ns()
    return {
        key: value for key, value in state.items() if not (is_past and key == "paused_until_ns")
    }


def adopt_references(path: Path, log: EventLog) -> None:
    """Move which way is up into the log, from the file that held it before schema 2 of the log."""
    try:
        saved = json.loads(path.read_text("utf-8"))
        states = {stream: {"upright": reference} for stream, reference in saved.items()}
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        _log.warning("%s: can't be used (%s): which way is up is learned anew", path, error)
        states = {}
    log.append([], states)
    if log.flush(_COMMIT_S):
        path.unlink()
