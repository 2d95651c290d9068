"""One file from which another machine goes on: `hard backup` and `hard restore`.

A zip with `events.db` (the events, how far each sink has got, what is known of each stream) and
`about.json`.  It is made beside a running daemon; it is put back where none runs.  What goes on
from it numbers its events beyond any that the first machine may have given meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hard.api import NS_PER_S, rfc3339
from hard.eventfile import (
    EventLogError,
    check_whole,
    claimed,
    connected,
    prepare,
    reading,
    remove_database,
)
from hard.outputs import written_aside

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["back_up", "restore", "what_is_in"]

FORMAT = "hard-backup"
VERSION = 1
MAX_BYTES = 4_000_000_000
MAX_ABOUT_BYTES = 65_536
_EVENTS, _ABOUT = "events.db", "about.json"
_AHEAD = 1_000_000


def back_up(log: Path, out: Path, node: str) -> dict[str, Any]:
    """Write what a log holds now into a new file; return what it is about.

    Raises `EventLogError` where there is no log, OSError where `out` can't be written.
    """
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent) as folder:
        copy = Path(folder, _EVENTS)
        try:
            with closing(reading(log)) as db, closing(connected(copy)) as taken:
                db.backup(taken)
                taken.execute("PRAGMA journal_mode = DELETE")  # one file, whole
                about = {
                    "format": FORMAT,
                    "version": VERSION,
                    "hard": version("hard-daemon"),
                    "made": rfc3339(time.time_ns()),
                    "node": node,
                    **_counted(taken),
                }
        except sqlite3.Error as error:
            raise EventLogError(f"{log}: can't be copied: {error}") from error
        with written_aside(out, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(_ABOUT, json.dumps(about, indent=1))
                archive.write(copy, _EVENTS)
    return about


def what_is_in(archive: Path) -> dict[str, Any]:
    """Return what a backup is about; raises `EventLogError` for any other file."""
    try:
        with zipfile.ZipFile(archive) as opened:
            about = json.loads(opened.read(_ABOUT)) if _is_ours(opened) else None
    except (OSError, zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError) as error:
        raise EventLogError(f"{archive}: can't be read as a backup: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise EventLogError(f"{archive}: no backup of hard")
    if about.get("version") != VERSION:
        raise EventLogError(f"{archive}: made by a newer hard: install that one")
    return about


def restore(archive: Path, log: Path) -> Path | None:
    """Put a backup in the place of a log that nobody uses; return where the old one is now.

    Raises `EventLogError` for what is no backup, damaged, or while a daemon runs; nothing is
    changed then.
    """
    what_is_in(archive)
    log.parent.mkdir(parents=True, exist_ok=True)
    present = log.exists() and log.stat().st_size > 0
    with claimed(log):
        new = Path(f"{log}.new")
        remove_database(new)
        try:
            new.touch(mode=0o600)
            with (
                zipfile.ZipFile(archive) as opened,
                opened.open(_EVENTS) as source,
                new.open("wb") as file,
            ):
                shutil.copyfileobj(source, file)
            with closing(connected(new)) as db:
                _refuse_empty(db, archive)
                prepare(db, new)
                check_whole(db)
                _number_on(db)
        except (sqlite3.Error, zipfile.BadZipFile, OSError, EOFError) as error:
            remove_database(new)
            raise EventLogError(f"{archive}: can't be put back: {error}") from error
        except EventLogError:
            remove_database(new)
            raise
        old = Path(f"{log}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        for suffix in ("-wal", ""):
            if Path(f"{log}{suffix}").exists():
                Path(f"{log}{suffix}").replace(f"{old}{suffix}")
        Path(f"{log}-shm").unlink(missing_ok=True)
        new.replace(log)
    if present:
        return old
    remove_database(old)
    return None


def _is_ours(archive: zipfile.ZipFile) -> bool:
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    return (
        sizes.keys() == {_EVENTS, _ABOUT}
        and sizes[_ABOUT] <= MAX_ABOUT_BYTES
        and sizes[_EVENTS] <= MAX_BYTES
    )


def _counted(db: sqlite3.Connection) -> Mapping[str, int]:
    (events,) = db.execute("SELECT count(*) FROM events").fetchone()
    (newest,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    return {"events": events, "newest": newest}


def _refuse_empty(db: sqlite3.Connection, archive: Path) -> None:
    if db.execute("PRAGMA user_version").fetchone() == (0,):
        raise EventLogError(f"{archive}: no event log in it")


def _number_on(db: sqlite3.Connection) -> None:
    """Reserve all numbers that the machine of the backup may have given since.

    The seconds since the epoch are more than were ever given at an event a second.
    """
    db.execute(
        "UPDATE numbers SET reserved = max(reserved + ?, ?)", (_AHEAD, time.time_ns() // NS_PER_S)
    )
