"""A backup made beside a daemon, and the machine that goes on from it."""

import json
import os
import sqlite3
import time
import zipfile
from contextlib import closing
from dataclasses import replace

import pytest

from hard.api import NS_PER_S
from hard.backup import back_up, restore, what_is_in
from hard.eventfile import EventLogError
from hard.eventlog import EventLog
from hard.testing import sample_events
from tests.hard.test_eventlog import OF_SCHEMA_1, until

KNOWN = {"phone-1": {"upright": {"gravity": [0.1, 9.7, 1.0]}}}


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "first/events.db")
    yield log
    log.close()


def committed(log, *starts):
    enter = sample_events(1)[0]
    log.append([replace(enter, kind="status", t_start=n, seq=None) for n in starts], KNOWN)
    assert log.flush(5)


def starts(log):
    return [event.t_start for event in log.read(0, 1000)]


def test_another_machine_goes_on_with_all_of_it_and_gives_no_number_again(log, tmp_path):
    cursor = log.cursor("mqtt")
    committed(log, *range(5))
    cursor.read(3)
    cursor.confirm(1)
    committed(log, 5)
    about = back_up(tmp_path / "first/events.db", tmp_path / "b.zip", "home")
    assert (about["events"], about["newest"], about["node"]) == (6, 6, "home")
    committed(log, *range(6, 3000))  # the first machine runs on
    assert restore(tmp_path / "b.zip", tmp_path / "second/events.db") is None
    with closing(EventLog(tmp_path / "second/events.db")) as second:
        assert starts(second) == list(range(6))
        assert second.states() == KNOWN
        assert [e.seq for e in second.cursor("mqtt").read(100)] == [2, 3, 4, 5, 6]
        assert second.cursor("mqtt").backlog == 5
        committed(second, 7)
        assert second.newest > max(log.newest, time.time() - 60)
        assert second.cursor("mqtt").backlog == 6


def test_a_backup_is_for_its_owner_only_and_whole_or_not_there(log, tmp_path):
    committed(log, 1)
    out = tmp_path / "b.zip"
    back_up(tmp_path / "first/events.db", out, "home")
    assert out.stat().st_mode & 0o077 == 0
    with pytest.raises(OSError, match="No such file"):
        back_up(tmp_path / "first/events.db", tmp_path / "none/b.zip", "home")
    with pytest.raises(EventLogError, match="no event log is there"):
        back_up(tmp_path / "events.db", out, "home")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.zip", "first"]


def test_what_was_there_is_set_aside_and_a_daemon_that_runs_is_left_alone(log, tmp_path):
    committed(log, 1)
    path = tmp_path / "first/events.db"
    back_up(path, tmp_path / "b.zip", "home")
    committed(log, 2)
    with pytest.raises(EventLogError, match="in use by another process"):
        restore(tmp_path / "b.zip", path)
    log.close()
    old = restore(tmp_path / "b.zip", path)
    with closing(EventLog(path)) as restored:
        assert starts(restored) == [1]
    with closing(EventLog(old)) as before:
        assert starts(before) == [1, 2]


def broken(path, body):
    """A backup whose log is something else."""
    about = {"format": "hard-backup", "version": 1, "made": "now", "node": "home", "events": 1}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", json.dumps(about))
        archive.writestr("events.db", body)
    return path


def test_what_is_no_backup_changes_nothing(log, tmp_path):
    committed(log, 1)
    log.close()
    path = tmp_path / "first/events.db"
    back_up(path, tmp_path / "b.zip", "home")
    body = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(body[: len(body) // 2])
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("../events.db", "x")
    rotten = bytearray(path.read_bytes())
    rotten[4096:] = os.urandom(len(rotten) - 4096)
    broken(tmp_path / "rotten.zip", bytes(rotten))
    broken(tmp_path / "empty.zip", b"")
    before = path.read_bytes()
    for name in ("cut", "text", "other", "rotten", "empty", "missing"):
        with pytest.raises(EventLogError, match=f"{name}.zip"):
            restore(tmp_path / f"{name}.zip", path)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.new")) + list(path.parent.glob("*.replaced*"))
    assert what_is_in(tmp_path / "b.zip")["events"] == 1


def damaged(body, name):
    """A backup's bytes, harmed as its name says."""
    at = body.index(b"PK\x01\x02")  # the central directory's first entry, and the file's own
    cut = bytearray(body)
    if name == "encrypted":
        for place in (6, at + 8):
            cut[place] |= 1
    elif name == "method":
        cut[8] = cut[at + 10] = 99
    elif name == "rotten":
        cut[60:100] = os.urandom(40)
    return bytes(cut)


@pytest.mark.parametrize("name", ["encrypted", "method", "rotten", "keys", "surrogate"])
def test_a_damaged_archive_is_told_in_a_sentence_and_nothing_is_left_behind(log, tmp_path, name):
    committed(log, 1)
    back_up(tmp_path / "first/events.db", tmp_path / "b.zip", "home")
    path = tmp_path / "bad.zip"
    path.write_bytes(damaged((tmp_path / "b.zip").read_bytes(), name))
    if name in {"keys", "surrogate"}:
        about = {"format": "hard-backup", "version": 1}
        if name == "surrogate":
            about |= {"made": "now", "node": "\ud800", "events": 1}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("about.json", json.dumps(about))
            archive.writestr("events.db", b"")
    with pytest.raises(EventLogError, match=r"bad\.zip"):
        restore(path, tmp_path / "second/events.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.zip", "bad.zip", "first"]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END", "trigger t"),
        ("CREATE VIEW v AS SELECT 1", "view v"),
        ("DROP TABLE forgotten", "table 'forgotten'"),
        ("CREATE TABLE more (x)", "table 'more'"),
        ("ALTER TABLE streams DROP COLUMN t_stored", "table 'streams'"),
        ("UPDATE numbers SET reserved = 4611686018427387904", "reserved of a row of numbers"),
        ("INSERT INTO cursors VALUES ('mqtt', 'x', 0, NULL)", "seq of a row of cursors"),
        ("INSERT INTO open_bouts VALUES ('b', 1, 's', x'00', '{}')", "evidence_ns of a row of"),
        ("INSERT INTO open_bouts VALUES ('b', 1, 's', 1, '{}')", "body of a row of open_bouts"),
    ],
)
def test_a_log_that_is_not_as_hard_makes_it_is_refused(log, tmp_path, statement, told):
    committed(log, 1)
    log.close()
    with closing(sqlite3.connect(tmp_path / "first/events.db")) as db, db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute(statement)
    broken(tmp_path / "bad.zip", (tmp_path / "first/events.db").read_bytes())
    with pytest.raises(EventLogError, match=told):
        restore(tmp_path / "bad.zip", tmp_path / "second/events.db")
    assert not (tmp_path / "second").exists()


def test_an_open_bout_goes_on_elsewhere(log, tmp_path):
    log.append(sample_events(1))
    assert log.flush(5)
    back_up(tmp_path / "first/events.db", tmp_path / "b.zip", "home")
    restore(tmp_path / "b.zip", tmp_path / "second/events.db")
    with closing(EventLog(tmp_path / "second/events.db")) as second:
        assert [e.reason for e in second.read(0, 9)][-1] == "interrupted"


def test_an_open_bout_ends_elsewhere_where_its_evidence_was_noted_last(tmp_path):
    enter = sample_events(1)[0]
    ends = [enter.t_start + n * NS_PER_S for n in (60, 120)]
    path, aside = tmp_path / "first/events.db", tmp_path / "first/events.db.evidence"
    with closing(EventLog(path, lazy_s=0.05)) as log:
        log.append([enter])
        assert log.flush(5)
        for n, end in enumerate(ends):
            log.evidence(enter.stream, end)
            until(lambda end=end: aside.exists() and str(end) in aside.read_text())
            back_up(path, tmp_path / f"{n}.zip", "home")
    aside.write_text("left by another run")
    for n in (1, 0):  # what is noted beside the log that is replaced is of no concern
        restore(tmp_path / f"{n}.zip", path)
        assert not aside.exists()
        with closing(EventLog(path)) as second:
            assert second.read(0, 9)[-1].t_end == ends[n]


def test_a_backup_of_the_older_schema_is_brought_up_to_date(tmp_path):
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.executescript(OF_SCHEMA_1)
    broken(tmp_path / "b.zip", (tmp_path / "old.db").read_bytes())
    restore(tmp_path / "b.zip", tmp_path / "second/events.db")
    with closing(EventLog(tmp_path / "second/events.db")) as second:
        assert second.cursor("mqtt").backlog == 0


def test_a_pipe_is_no_backup_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(EventLogError, match="no regular file"):
        restore(tmp_path / "pipe.zip", tmp_path / "events.db")
