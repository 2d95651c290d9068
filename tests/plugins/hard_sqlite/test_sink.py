import re
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hard_sqlite
from hard.api import NS_PER_S, Event, SinkUnavailable
from hard.testing import check_sink, sample_events
from hard_sqlite import SqliteSink

NOW_NS = time.time_ns()
DAY_NS = 86_400 * NS_PER_S
README = Path(hard_sqlite.__file__).with_name("README.md").read_text("utf-8")


def sink_to(path, **config):
    return SqliteSink("history", SqliteSink.Config(path=str(path), **config))


def write(path, events, **config):
    """Write events as the runtime does; return the numbers confirmed and the sink."""
    confirmed = []
    sink = sink_to(path, **config)
    sink.open()
    sink.write(events, confirmed.append)
    sink.check()
    sink.close()
    return confirmed, sink


def rows(path, query):
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query)]


def bout(n=0, t_ns=NOW_NS, seconds=30, stream="phone-1", activity="walking"):
    """Return enter and exit of a bout."""
    enter = replace(
        sample_events(1, stream=stream)[0],
        activity=activity,
        t_start=t_ns,
        t_decided=t_ns + NS_PER_S,
        seq=2 * n + 1,
    )
    t_end = t_ns + seconds * NS_PER_S
    exit_ = replace(
        enter, kind="exit", t_end=t_end, t_decided=t_end, confidence=0.8, seq=2 * n + 2
    )  # fmt: skip
    return enter, exit_


def status(seq, t_ns, now, before, reason="end", stream="phone-1"):
    return Event(
        kind="status",
        stream=stream,
        t_decided=t_ns,
        t_start=t_ns,
        model="m",
        segment=0,
        status=now,
        previous=before,
        reason=reason,
        seq=seq,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "history.db"


def test_it_keeps_the_contract(path, tmp_path):
    (tmp_path / "file").touch()
    check_sink(
        lambda: sink_to(path), make_unreachable=lambda: sink_to(tmp_path / "file" / "history.db")
    )


def test_a_bout_is_open_until_its_exit_comes(path):
    enter, exit_ = bout()
    assert write(path, [enter])[0] == [1]
    (row,) = rows(path, "SELECT * FROM bouts")
    assert (row["bout"], row["activity"], row["confidence"]) == (enter.bout, "walking", 0.9)
    assert row["t_end"] is row["duration_s"] is row["reason"] is None
    assert write(path, [exit_])[0] == [2]
    (row,) = rows(path, "SELECT * FROM bouts")
    assert row["duration_s"] == 30.0
    assert (row["t_start"], row["t_end"]) == (exit_.payload()["t_start"], exit_.payload()["t_end"])
    assert (row["reason"], row["confidence"], row["coverage"]) == ("changed", 0.8, 1.0)


@settings(max_examples=30)
@given(st.data())
def test_events_that_come_again_change_nothing(tmp_path_factory, data):
    events = [event for n in range(4) for event in bout(n, NOW_NS + n * 60 * NS_PER_S)]
    events.append(status(9, NOW_NS, "no_data", "ok"))
    again = data.draw(st.lists(st.integers(0, len(events)), max_size=4))
    path = tmp_path_factory.mktemp("db") / "history.db"
    with closing(sink_to(path)) as sink:
        sink.open()
        for end in [*again, len(events)]:  # each outage begins again at some event not confirmed
            begin = data.draw(st.integers(0, end))
            sink.write(events[begin:end], lambda _: None)
        sink.write(events, lambda _: None)
    assert rows(path, "SELECT count(*) AS n FROM bouts WHERE duration_s = 30.0") == [{"n": 4}]
    assert rows(path, "SELECT count(*) AS n FROM statuses") == [{"n": 1}]


def test_a_bout_that_was_interrupted_keeps_what_its_enter_told(path):
    enter, exit_ = bout()
    killed = replace(exit_, confidence=None, coverage=None, probs={}, reason="interrupted")
    write(path, [enter, killed])
    (row,) = rows(path, "SELECT * FROM bouts")
    assert (row["reason"], row["confidence"], row["coverage"]) == ("interrupted", 0.9, 1.0)


def test_an_exit_whose_enter_was_never_seen_is_a_whole_bout(path):
    write(path, [bout()[1]])
    (row,) = rows(path, "SELECT * FROM bouts")
    assert (row["stream"], row["duration_s"], row["model"]) == ("phone-1", 30.0, "conformance-1")


def test_rows_older_than_the_retention_are_removed_and_counted(path):
    old, new = bout(0, NOW_NS - 8 * DAY_NS), bout(1, NOW_NS - 60 * NS_PER_S)
    _, sink = write(path, [*old, *new], retention_days=7.0)
    assert [row["bout"] for row in rows(path, "SELECT * FROM bouts")] == [new[0].bout]
    assert sink.counts == {"removed_rows": 1}


def test_a_phone_from_the_future_does_not_empty_the_table(path):
    now, future = bout(0, NOW_NS), bout(1, NOW_NS + 4000 * DAY_NS, stream="phone-2")
    write(path, [*now, *future], retention_days=7.0)
    assert len(rows(path, "SELECT * FROM bouts")) == 2


def test_a_clock_that_jumped_does_not_empty_the_table(path):
    long_ago = [bout(n, NOW_NS - (4000 + n) * DAY_NS) for n in range(3)]
    write(path, [event for pair in long_ago for event in pair], retention_days=7.0)
    assert len(rows(path, "SELECT * FROM bouts")) == 3


def test_the_oldest_go_when_the_file_is_full(path):
    pairs = [bout(n, NOW_NS + n * NS_PER_S) for n in range(6_000)]
    _, sink = write(path, [event for pair in pairs for event in pair], max_mb=1.0)
    kept = rows(path, "SELECT * FROM bouts ORDER BY t_start_ns")
    assert [row["bout"] for row in kept] == [enter.bout for enter, _ in pairs[5_000:]]
    assert sink.counts == {"removed_rows": 5_000}


def test_of_a_stream_that_is_forgotten_nothing_stays_on_the_disk(path):
    theirs = [bout(n, NOW_NS + n * 60 * NS_PER_S, stream="private-phone") for n in range(300)]
    ours = bout(300, stream="phone-1")
    sink = sink_to(path)
    sink.open()
    events = [event for pair in theirs for event in pair]
    sink.write([*events, *ours, status(999, NOW_NS, "ok", None, stream="private-phone")], print)
    assert b"private-phone" in stored(path)
    sink.forget("private-phone")
    assert b"private-phone" not in stored(path)
    sink.close()
    assert [row["stream"] for row in rows(path, "SELECT * FROM bouts")] == ["phone-1"]


def stored(path):
    return b"".join(p.read_bytes() for p in path.parent.iterdir())


def test_another_program_s_database_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    sink = sink_to(path)
    with pytest.raises(SinkUnavailable, match="another program's database: set path"):
        sink.open()
    sink.close()
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_unavailable(path):
    path.parent.mkdir()
    path.write_text("not a database, but a text that is long enough to be one" * 100)
    sink = sink_to(path)
    with pytest.raises(SinkUnavailable, match="not a database"):
        sink.open()
    sink.close()


def test_what_was_decided_by_a_clock_that_is_not_set_says_so(path):
    enter, exit_ = bout()
    doubted = replace(enter, clock_unsynced=True)
    write(path, [doubted, exit_, *bout(1, NOW_NS + 60 * NS_PER_S)])
    write(path, [replace(status(9, NOW_NS, "no_data", "ok"), clock_unsynced=True)])
    told = rows(path, "SELECT bout, clock_unsynced FROM bouts ORDER BY t_start_ns")
    assert [row["clock_unsynced"] for row in told] == [1, 0]
    assert rows(path, "SELECT clock_unsynced FROM statuses") == [{"clock_unsynced": 1}]


def test_tables_of_an_older_version_are_brought_up_to_date(path):
    write(path, [*bout(), status(9, NOW_NS, "no_data", "ok")])
    with closing(sqlite3.connect(path)) as db:
        for table in ("bouts", "statuses"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN clock_unsynced")
        db.execute("PRAGMA user_version = 1")
    write(path, bout(1, NOW_NS + 60 * NS_PER_S))
    told = rows(path, "SELECT duration_s, clock_unsynced FROM bouts")
    assert told == [{"duration_s": 30.0, "clock_unsynced": 0}] * 2


def test_a_newer_version_s_tables_are_refused(path):
    write(path, [])
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    sink = sink_to(path)
    with pytest.raises(SinkUnavailable, match="made by a newer version"):
        sink.open()
    sink.close()


def test_a_file_that_is_removed_while_in_use_is_made_anew(path):
    sink, confirmed = sink_to(path), []
    sink.open()
    sink.write([bout(0)[0]], confirmed.append)
    path.unlink()
    with pytest.raises(SinkUnavailable):
        sink.write([bout(1)[0]], confirmed.append)
    sink.close()
    sink.open()
    sink.write([bout(1)[0]], confirmed.append)
    sink.close()
    assert confirmed == [1, 3]
    assert [row["bout"] for row in rows(path, "SELECT * FROM bouts")] == [bout(1)[0].bout]


def test_a_reader_in_the_middle_of_a_question_stops_nothing(path):
    write(path, bout(0))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert len(reader.execute("SELECT * FROM bouts").fetchall()) == 1
        assert write(path, bout(1, NOW_NS + 60 * NS_PER_S))[0] == [3, 4]
        assert len(reader.execute("SELECT * FROM bouts").fetchall()) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from test_sink import bout, sink_to
sink = sink_to(Path(sys.argv[1]))
sink.open()
for n in range(50):
    sink.write(bout(n, 10**18 + n * 60 * 10**9), lambda seq: print(seq, flush=True))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_confirmed_is_there_after_a_kill(path):
    command, here = [sys.executable, "-c", KILLED, path], Path(__file__).parent
    done = subprocess.run(command, check=False, cwd=here, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert len(done.stdout.split()) == 100
    assert len(rows(path, "SELECT * FROM bouts WHERE t_end IS NOT NULL")) == 50


def test_the_readme_shows_a_valid_configuration():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    table = tomllib.loads(block)["sinks"]["history"]
    assert table.pop("plugin") == "sqlite"
    assert SqliteSink.Config(**table).retention_days == 365.0


def test_the_readme_names_every_column(path):
    write(path, [])
    for table in ("bouts", "statuses"):
        for column in rows(path, f"PRAGMA table_xinfo({table})"):
            assert f"`{column['name']}`" in README


def test_the_questions_of_the_readme_have_the_answers_that_it_promises(path):
    t_ns = 1_777_622_400 * NS_PER_S  # 2026-05-01T08:00:00Z
    walk, rest = bout(0, t_ns, 5400), bout(1, t_ns + 5400 * NS_PER_S, 1800, activity="sitting")
    now = bout(2, t_ns + 7200 * NS_PER_S, stream="phone-2")[0]
    silence = [
        status(7, t_ns, "no_data", "ok", "end"),
        status(8, t_ns + 90 * NS_PER_S, "ok", "no_data", None),
    ]
    write(path, [*walk, *rest, now, *silence])
    hours, doing, silent = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    assert rows(path, hours) == [
        {"day": "2026-05-01", "stream": "phone-1", "activity": "walking", "hours": 1.5},
        {"day": "2026-05-01", "stream": "phone-1", "activity": "sitting", "hours": 0.5},
    ]
    since = "2026-05-01T10:00:00.000Z"
    assert rows(path, doing) == [
        {"stream": "phone-2", "activity": "walking", "since": since, "confidence": 0.9}
    ]
    assert rows(path, silent) == [
        {"stream": "phone-1", "status": "no_data", "reason": "end", "times": 1, "seconds": 90.0}
    ]
