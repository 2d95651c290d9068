"""One file from which another machine goes on: `hard backup` and `hard restore`.

A zip with `events.db` (the events, how far each sink has got, what is known of each stream) and
`about.json`.  It is made beside a running daemon; it is put back where none runs.  What goes on
from it numbers its events beyond any that the first machine may have given meanwhile.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import sqlite3
import struct
import time
import zipfile
import zlib
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hard.api import NS_PER_S, rfc3339
from hard.eventfile import (
    EVIDENCE,
    PARTS,
    EventLogError,
    check_whole,
    claimed,
    connected,
    from_body,
    prepare,
    reading,
    remove_database,
    take_evidence,
)
from hard.outputs import written_aside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["back_up", "reserved", "restore", "what_is_in"]

FORMAT = "hard-backup"
VERSION = 1
MAX_BYTES = 4_000_000_000
MAX_ABOUT_BYTES = 65_536
_EVENTS, _ABOUT = "events.db", "about.json"
_AHEAD = 1_000_000
_MAX_NUMBER = 2**62 - 1
"""What is counted on from there still fits SQLite's integers."""
_UNREADABLE = (
    *(OSError, EOFError, LookupError, RuntimeError, ValueError),
    *(struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What zipfile and json raise for a damaged or encrypted archive."""


def back_up(log: Path, out: Path, node: str) -> dict[str, Any]:
    """Write what a log holds now into a new file; return what it is about.

    Raises `EventLogError` where there is no log or `out` is part of it, OSError where `out` can't
    be written.
    """
    if _is_part_of(log, out):
        raise EventLogError(f"{out}: it is the event log itself; name another file")
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent) as folder:
        copy = Path(folder, _EVENTS)
        try:
            with closing(reading(log)) as db, closing(connected(copy)) as taken:
                db.backup(taken)
                take_evidence(taken, log)
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
        if archive.exists() and not archive.is_file():
            raise EventLogError(f"{archive}: no regular file: name what `hard backup` wrote")
        with zipfile.ZipFile(archive) as opened:
            about = json.loads(opened.read(_ABOUT)) if _is_ours(opened) else None
    except _UNREADABLE as error:
        raise EventLogError(f"{archive}: can't be read as a backup: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise EventLogError(f"{archive}: no backup of hard")
    if about.get("version") != VERSION:
        raise EventLogError(f"{archive}: made by a newer hard: install that one")
    told = about.get("made"), about.get("node")
    if type(about.get("events")) is not int or not all(
        isinstance(text, str) and text.isprintable() for text in told
    ):
        raise EventLogError(f"{archive}: its {_ABOUT} lacks made, node or events: take another one")
    return about


def restore(archive: Path, log: Path) -> Path | None:
    """Put a backup in the place of a log that nobody uses; return where the old one is now.

    Raises `EventLogError` for what is no backup, damaged, or while a daemon runs; nothing is
    changed then.
    """
    what_is_in(archive)
    there = next(folder for folder in log.absolute().parents if folder.is_dir())
    with TemporaryDirectory(prefix=f".{log.name}.", dir=there) as folder:
        new = Path(folder, _EVENTS)
        _unpack(archive, new)
        present = log.exists() and log.stat().st_size > 0
        with claimed(log):
            old = Path(f"{log}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
            for suffix in ("-wal", ""):
                if Path(f"{log}{suffix}").exists():
                    Path(f"{log}{suffix}").replace(f"{old}{suffix}")
            for suffix in ("-shm", EVIDENCE):
                Path(f"{log}{suffix}").unlink(missing_ok=True)
            new.replace(log)
    if present:
        return old
    remove_database(old)
    return None


def reserved(log: Path) -> int:
    """Return the number above which a log goes on; raises `EventLogError`."""
    with closing(reading(log)) as db:
        (number,) = db.execute("SELECT reserved FROM numbers").fetchone()
    return int(number)


def _unpack(archive: Path, new: Path) -> None:
    """Make a log of a backup's events; raises `EventLogError`."""
    try:
        new.touch(mode=0o600)
        with (
            zipfile.ZipFile(archive) as opened,
            opened.open(_EVENTS) as source,
            new.open("wb") as file,
        ):
            shutil.copyfileobj(source, file)
        with closing(connected(new)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            _refuse_empty(db, archive)
            foreign = db.execute(
                "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')"
            ).fetchone()
            if foreign is None:
                prepare(db, new)
                check_whole(db)
            for fault in [" ".join(foreign)] if foreign else _faults(db):
                raise EventLogError(f"{archive}: not as hard makes it ({fault}): take another one")
            _number_on(db)
    except (sqlite3.Error, *_UNREADABLE) as error:
        raise EventLogError(f"{archive}: can't be put back: {error}") from error


def _is_part_of(log: Path, out: Path) -> bool:
    """Tell whether a file is the log or one of its companions, there or not, by any name."""
    for part in (Path(f"{log}{suffix}") for suffix in PARTS):
        if out.resolve() in {part.resolve(), Path(f"{log.resolve()}{part.name[len(log.name) :]}")}:
            return True
        if out.exists() and part.exists() and out.samefile(part):
            return True
    return False


def _columns(db: sqlite3.Connection) -> dict[str, list[Any]]:
    tables = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'"
    ).fetchall()
    return {name: db.execute(f'PRAGMA table_xinfo("{name}")').fetchall() for (name,) in tables}


def _faults(db: sqlite3.Connection) -> Iterator[str]:
    """Yield what is not as the schema makes it, the gravest first."""
    with closing(connected(None)) as own:
        prepare(own, None)
        tables = _columns(own)
    found = _columns(db)
    for name in sorted({*tables, *found}):
        if tables.get(name) != found.get(name):
            yield f"table {name!r}"
    for (line,) in db.execute("PRAGMA integrity_check(1)"):
        if line != "ok":
            yield line
    yield from _strange_rows(db, tables)
    yield from _strange_bouts(db)


def _strange_rows(db: sqlite3.Connection, tables: Mapping[str, list[Any]]) -> Iterator[str]:
    """Yield the columns that hold a value of another type, or a number that can't be counted on."""
    for name, columns in tables.items():
        for _, column, kind, needed, *_ in columns:
            types = f"'{kind.lower()}'" + ("" if needed else ", 'null'")
            strange = f"typeof({column}) NOT IN ({types})"
            if kind == "INTEGER":
                strange += f" OR {column} NOT BETWEEN -{_MAX_NUMBER} AND {_MAX_NUMBER}"
            if db.execute(f"SELECT 1 FROM {name} WHERE {strange} LIMIT 1").fetchone():  # noqa: S608 - ours
                yield f"{column} of a row of {name}"


def _strange_bouts(db: sqlite3.Connection) -> Iterator[str]:
    """Yield what no daemon could close when it begins."""
    for bout, seq, stream, body in db.execute("SELECT bout, seq, stream, body FROM open_bouts"):
        try:
            event = from_body(body, seq)
            event.payload()
            same = (event.kind, event.bout, event.stream) == ("enter", bout, stream)
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            same = False
        if not same:
            yield "body of a row of open_bouts"


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
