"""`hard events` at the prompt, beside a log that is in use and on one that is not."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from hard.eventlog import EventLog
from hard.testing import sample_events
from tests.calling import hard

S = 1_000_000_000
CONFIG = """
[hard]
state_dir = "state"
[sinks.home]
plugin = "jsonl"
path = "out.jsonl"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hard.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def log(folder):
    """A log in use, with twelve events on two streams, one of a forbidding name."""
    enter = replace(sample_events(1)[0], reason=None, seq=None)
    names = ["=phone", "phone-1"]
    log = EventLog(folder / "state/events.db")
    log.cursor("home")
    log.append([replace(enter, stream=names[n % 2], t_decided=n * S, t_start=n) for n in range(12)])
    assert log.flush(5)
    yield log
    log.close()


def test_events_are_listed_as_text_as_json_and_as_csv(log, folder):
    text = hard("events", "-n", 2, folder=folder).stdout.splitlines()
    assert [line.split()[0] for line in text] == ["seq", "11", "12"]
    lines = hard("events", "--json", "--stream", "phone-*", folder=folder).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [e.payload() for e in log.read(0, 99)][1::2]
    since = ["--since", "1970-01-01T00:00:04Z", "--until", "1970-01-01T00:00:06Z"]
    table = hard("events", "--csv", *since, folder=folder).stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["seq"], row["stream"]) for row in rows] == [("5", "'=phone"), ("6", "phone-1")]


@pytest.mark.parametrize("options", [[], ["--json"], ["--csv", "--activity", "walking"]])
def test_events_that_can_not_be_read_are_left_out_and_counted(log, folder, options):
    log.close()
    with closing(sqlite3.connect(folder / "state/events.db")) as db, db:
        for seq, body in ((2, "no json"), (3, '{"kind": "enter"}'), (4, "[]")):
            db.execute("UPDATE events SET body = ? WHERE seq = ?", (body, seq))
    done = hard("events", *options, folder=folder)
    assert done.returncode == 0
    assert done.stderr.count("events can't be read and are left out") == 1
    if not options:
        assert len(done.stdout.splitlines()) == 1 + 9
        assert " 3 events" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--since", "soon"], 2, "'soon' is no time"),
        (["--kind", "leave"], 2, "'leave' is none: enter, exit or status"),
        (["--json", "--csv"], 2, "not both"),
        ([], 1, "no event log is there"),
        (["redeliver", "away", "--from", "1"], 1, "no sink is named 'away'; there are: home"),
    ],
)
def test_what_can_not_be_told_says_why(folder, options, code, told):
    done = hard("events", *options, folder=folder)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr


def test_without_a_state_directory_there_is_nothing_to_tell(tmp_path):
    (tmp_path / "hard.toml").write_text("")
    done = hard("events", folder=tmp_path)
    assert done.returncode == 78
    assert "hard.state_dir: missing" in done.stderr


def test_without_a_daemon_a_sink_gets_again_what_is_moved_in_the_file(log, folder):
    cursor = log.cursor("home")
    for event in cursor.read(99):
        cursor.confirm(event.seq)
    refused = hard("events", "redeliver", "home", "--from", 5, folder=folder)
    assert refused.returncode == 1
    assert "in use by another process" in refused.stderr
    log.close()
    done = hard("events", "redeliver", "home", "--from", 5, "--stream", "phone-1", folder=folder)
    assert done.stdout == "no daemon runs: 4 events go to home again once it does\n"
    with closing(EventLog(folder / "state/events.db")) as again:
        seqs = [e.seq for e in again.cursor("home").read(99)]
        assert [seq for seq in seqs if seq <= 12] == [6, 8, 10, 12]
