"""The event log on real files, with real kills, locks and size limits."""

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard import eventlog
from hard.api import Event
from hard.eventlog import MAX_IN_FLIGHT, EventLog, EventLogError, from_body, to_body

S = 1_000_000_000


def enter(n, stream="phone-1", activity="walking"):
    """The n-th bout of a stream begins."""
    return Event(
        kind="enter",
        stream=stream,
        t_decided=(n + 3) * S,
        t_start=n * S,
        model="m",
        segment=0,
        activity=activity,
        confidence=0.9612,
        probs={activity: 0.9612, "still": 0.0388},
        coverage=1.0,
    )


def leave(event, t_end):
    return replace(event, kind="exit", t_end=t_end, t_decided=t_end, reason="changed")


def said(event):
    """A status event, which opens no bout."""
    return Event(
        kind="status", stream="phone-1", t_decided=event, t_start=event, model="m", segment=0,
        status="ok", previous="checking",
    )  # fmt: skip


@contextlib.contextmanager
def opened(path, **options):
    log = EventLog(path, **options)
    try:
        yield log
    finally:
        log.close()


def committed(log, *events):
    log.append(events)
    assert log.flush(5)


def everything(log):
    events = []
    while more := log.read(events[-1].seq if events else 0, 1000):
        events += more
    return events


def rows(path, query):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def copied(path, folder):
    """What a kill at this instant would leave: the file and its write-ahead log."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        if (source := path.with_name(path.name + suffix)).exists():
            shutil.copy(source, folder / source.name)
    return folder / path.name


# -- rows ------------------------------------------------------------------------------------


times = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Event,
        kind=st.sampled_from(["enter", "exit", "status"]),
        stream=st.text(),
        t_decided=times,
        t_start=times,
        model=st.text(),
        segment=st.integers(0, 2**40),
        activity=st.none() | st.text(),
        t_end=st.none() | times,
        confidence=st.none() | numbers,
        probs=st.dictionaries(st.text(), numbers, max_size=3),
        coverage=st.none() | numbers,
        status=st.none() | st.sampled_from(["ok", "no_data"]),
        previous=st.none() | st.sampled_from(["ok", "no_data"]),
        reason=st.none() | st.text(),
        seq=st.none() | st.integers(1, 2**62),
    )
)
def test_an_event_comes_back_from_its_row_field_by_field(event):
    back = from_body(to_body(event), event.seq)
    assert back == event
    assert list(back.probs) == list(event.probs)


def test_what_is_not_plain_json_is_refused_at_once():
    with opened(None) as log, pytest.raises(TypeError):
        log.append([replace(enter(1), probs={"walking": {0.5}})])


# -- numbers ---------------------------------------------------------------------------------


def test_events_are_read_in_order_with_rising_numbers(tmp_path):
    with opened(tmp_path / "log.db") as log:
        events = [enter(n) for n in range(7)]
        log.append(events[:3])
        log.append(events[3:])
        assert log.flush(5)
        assert everything(log) == [event.numbered(n) for n, event in enumerate(events, 1)]
        assert log.read(2, 2) == [events[2].numbered(3), events[3].numbered(4)]
        assert log.newest == 7


def test_numbers_go_on_without_a_gap_after_a_clean_restart(tmp_path):
    path = tmp_path / "log.db"
    for n in range(3):
        with opened(path) as log:
            committed(log, said(n))
    with opened(path) as log:
        assert [event.seq for event in everything(log)] == [1, 2, 3]
    skipped = rows(path, "SELECT first_seq, skipped_first, skipped_last FROM boots ORDER BY boot")
    assert skipped == [(first, None, None) for first in (1, 2, 3, 4)]


def test_after_a_kill_numbers_are_skipped_never_reused_and_the_boot_says_which(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, *map(said, range(5)))
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        committed(log, said(5))
        assert [event.seq for event in everything(log)] == [1, 2, 3, 4, 5, 1001]
    assert rows(copy, "SELECT skipped_first, skipped_last FROM boots ORDER BY boot DESC") == [
        (6, 1000),
        (None, None),
    ]


def test_a_number_is_not_reused_though_a_power_cut_takes_back_its_event(tmp_path):
    """Without the write-ahead log the file holds what was synced by the last checkpoint."""
    path = tmp_path / "log.db"
    with opened(path) as log:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(FULL)")
        committed(log, said(1))
        shutil.copy(path, tmp_path / "cut.db")
        shown = log.newest
    with opened(tmp_path / "cut.db") as log:
        assert everything(log) == []
        committed(log, said(2))
        assert everything(log)[0].seq > shown


def test_blocks_of_numbers_are_reserved_before_they_are_used(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        for n in range(5):
            committed(log, *map(said, range(n * 700, (n + 1) * 700)))
            ((reserved,),) = rows(path, "SELECT reserved FROM numbers")
            assert reserved >= log.newest == (n + 1) * 700


APPENDING = """
    import sys
    from pathlib import Path
    from hard.api import Event
    from hard.eventlog import EventLog
    log = EventLog(Path(sys.argv[1]))
    print("before", log.newest, flush=True)
    for n in range(10**9):
        log.append([Event(kind="status", stream="s", t_decided=n, t_start=n, model="m", segment=0)])
        if n % 97 == 0:
            log.flush(5)
            print("committed", log.newest, flush=True)
"""


def test_no_committed_event_is_lost_and_no_number_reused_over_kills(tmp_path):
    path = tmp_path / "log.db"
    rng = random.Random(1)
    known = {}
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(APPENDING), str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            told = [process.stdout.readline().split() for _ in range(rng.randint(3, 12))]
            process.send_signal(signal.SIGKILL)
            told += [line.split() for line in process.stdout]
        assert process.returncode == -signal.SIGKILL
        promised = max(int(line[1]) for line in told if len(line) == 2)
        with opened(copied(path, tmp_path / f"copy{promised}")) as log:
            events = {event.seq: event for event in everything(log)}
        assert max(events) >= promised
        assert known.items() <= events.items()
        known = events
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


# -- commits ---------------------------------------------------------------------------------


def test_the_first_event_after_a_pause_is_committed_at_once_and_the_next_are_grouped():
    with opened(None) as log:
        log.append([said(1)])
        assert log.wait(0, 5)
        log.append([said(2)])
        log.append([said(3)])
        assert log.wait(1, 5)
        assert log.newest == 3


def test_events_that_follow_each_other_wait_for_each_other_but_not_for_long():
    with opened(None) as log:
        for i in range(20):
            log.append([said(i)])
            began_s = time.monotonic()
            assert log.wait(i, 5)
            assert time.monotonic() - began_s < 0.9, "an event waits for a second"


def test_waiting_ends_with_the_commit_and_not_with_the_time():
    with opened(None) as log:
        done = []
        waiting = threading.Thread(target=lambda: done.append(log.wait(0, 60)))
        waiting.start()
        log.append([said(1)])
        waiting.join(10)
        assert done == [True]


def test_exit_and_enter_of_one_change_share_a_commit(tmp_path):
    """Whenever the file is copied, it holds both or neither."""
    path = tmp_path / "log.db"
    with opened(path) as log:
        before = enter(0)
        committed(log, before)
        for n in range(1, 6):
            after = enter(n)
            log.append([leave(before, n * S), after])
            before = after
            copy = copied(path, tmp_path / str(n))
            with opened(copy) as killed:
                kinds = [event.kind for event in everything(killed)]
            assert kinds == ["enter", *["exit", "enter"] * (len(kinds) // 2 - 1), "exit"]


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from hard.api import Event
    from hard.eventlog import EventLog
    def said(n):
        return Event(kind="status", stream="s" * 900, t_decided=n, t_start=n, model="m", segment=0)
    log = EventLog(Path(sys.argv[1]))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    for n in range(10):
        log.append([said(n * 50 + i) for i in range(50)])
        if not log.flush(0.5):
            break
    log.flush(1.2)  # another attempt
    print(log.is_failing, log.newest, len(log.read(0, 10_000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.append([said(n * 50 + 50)])
    print(log.flush(10), log.is_failing, dict(log.counts))
    print([event.t_start for event in log.read(0, 10_000)] == list(range(n * 50 + 51)))
    log.close()
"""


def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path):
    """The size limit of a process is as real a wall as a full disk, and needs no root."""
    path = tmp_path / "log.db"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    full, again, order = done.stdout.splitlines()
    failing, newest, readable = full.split()
    assert failing == "True"
    assert int(newest) == int(readable) > 0
    assert again == "True False {}"
    assert order == "True"
    assert done.stderr.count("the event log cannot be written") == 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_at_the_bound_the_oldest_uncommitted_are_dropped_and_counted():
    with opened(None) as log:
        committed(log, *map(said, range(eventlog.MAX_QUEUED + 7)))
        assert log.counts["dropped_uncommitted"] == 7
        assert log.newest == eventlog.MAX_QUEUED
        assert log.read(0, 1)[0].t_start == 7


# -- cursors ---------------------------------------------------------------------------------


def test_a_cursor_is_the_highest_contiguous_confirmation(tmp_path):
    with opened(tmp_path / "log.db") as log:
        cursor = log.cursor("mqtt")
        committed(log, *map(said, range(5)))
        assert [event.seq for event in cursor.read(100)] == [1, 2, 3, 4, 5]
        places = []
        for seq in (3, 2, 5, 1, 99, 4):
            cursor.confirm(seq)
            places.append(cursor.position)
        assert places == [0, 0, 0, 3, 3, 5]
        assert cursor.backlog == 0


def test_what_is_in_flight_is_not_read_again_until_rewound(tmp_path):
    with opened(tmp_path / "log.db") as log:
        cursor = log.cursor("mqtt")
        committed(log, *map(said, range(4)))
        assert [event.seq for event in cursor.read(3)] == [1, 2, 3]
        cursor.confirm(2)
        assert [event.seq for event in cursor.read(3)] == [4]
        cursor.rewind()
        assert [event.seq for event in cursor.read(9)] == [1, 3, 4]  # 2 is delivered for good
        for seq in (4, 3, 1):
            cursor.confirm(seq)
        assert cursor.position == 4


def test_a_late_confirmation_counts_after_a_rewind(tmp_path):
    with opened(tmp_path / "log.db") as log:
        cursor = log.cursor("mqtt")
        committed(log, said(1), said(2))
        cursor.read(9)
        cursor.rewind()
        cursor.confirm(1)
        assert [event.seq for event in cursor.read(9)] == [2]
        assert cursor.position == 1


def test_at_most_a_hundred_are_in_flight_and_a_confirmation_makes_room(tmp_path):
    with opened(tmp_path / "log.db") as log:
        cursor = log.cursor("mqtt")
        committed(log, *map(said, range(150)))
        assert len(cursor.read(1000)) == MAX_IN_FLIGHT
        assert cursor.read(1000) == []
        assert not cursor.wait(0.05)
        threading.Timer(0.05, cursor.confirm, [1]).start()
        assert cursor.wait(5)
        assert [event.seq for event in cursor.read(1000)] == [101]


def test_a_wait_can_be_woken(tmp_path):
    with opened(tmp_path / "log.db") as log:
        cursor = log.cursor("mqtt")
        cursor.wake()
        began_s = time.monotonic()
        assert cursor.wait(30)
        assert time.monotonic() - began_s < 5
        assert not cursor.wait(0.01)


def test_a_cursor_goes_on_after_a_restart(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        cursor = log.cursor("mqtt")
        committed(log, *map(said, range(4)))
        cursor.read(9)
        cursor.confirm(1)
        cursor.confirm(2)
        cursor.confirm(4)
    with opened(path) as log:
        assert [event.seq for event in log.cursor("mqtt").read(9)] == [3, 4]


def test_a_new_sink_begins_now_or_with_the_oldest(tmp_path):
    with opened(tmp_path / "log.db") as log:
        committed(log, said(1), said(2))
        now, oldest = log.cursor("now"), log.cursor("oldest", "oldest")
        committed(log, said(3))
        assert [event.seq for event in now.read(9)] == [3]
        assert [event.seq for event in oldest.read(9)] == [1, 2, 3]


def test_now_still_means_the_first_time_after_a_kill(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, said(1))
        log.cursor("mqtt")
        committed(log, said(2))
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        assert [event.t_start for event in log.cursor("mqtt").read(9)] == [2]


def test_numbers_skipped_by_a_kill_keep_no_sink_waiting_or_spinning(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        cursor = log.cursor("mqtt")
        committed(log, said(1), said(2))
        cursor.read(9)
        cursor.confirm(1)
        committed(log, said(3))
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        cursor = log.cursor("mqtt")
        assert [event.seq for event in cursor.read(9)] == [2, 3]
        assert not cursor.wait(0.05)
        cursor.confirm(2)
        cursor.confirm(3)
        assert cursor.backlog == 0


# -- pruning ---------------------------------------------------------------------------------


def test_the_oldest_go_at_the_cap_and_count_as_dropped_for_sinks_that_missed_them(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        log.cursor("removed")
        committed(log, said(0))
    with opened(path, max_events=10) as log:
        fast, slow = log.cursor("fast", "oldest"), log.cursor("slow", "oldest")
        committed(log, *map(said, range(1, 8)))
        for event in fast.read(100):
            fast.confirm(event.seq)
        slow.read(100)
        slow.confirm(2)
        committed(log, *map(said, range(8, 14)))
        assert [event.seq for event in everything(log)] == list(range(5, 15))
        assert (fast.dropped, slow.dropped) == (0, 3)
        slow.rewind()
        assert [event.seq for event in slow.read(100)] == list(range(5, 15))


# -- bouts left open -------------------------------------------------------------------------


def test_a_bout_open_at_a_kill_ends_as_interrupted_at_its_last_evidence(tmp_path):
    path = tmp_path / "log.db"
    walk, rest, sit = enter(10), enter(12, "phone-2"), enter(20, activity="sitting")
    with opened(path) as log:
        cursor = log.cursor("mqtt")
        log.evidence("phone-1", 11 * S)
        committed(log, walk, rest)
        log.evidence("phone-1", 19 * S)
        log.evidence("phone-2", 25 * S)
        committed(log, leave(walk, 20 * S), sit)
        for event in cursor.read(100):
            cursor.confirm(event.seq)
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        exits = log.cursor("mqtt").read(100)[-2:]
        committed(log, said(1))
        assert [event.seq for event in everything(log)] == [1, 2, 3, 4, 1001, 1002, 1003]
    assert [(event.bout, event.reason, event.t_end) for event in exits] == [
        (rest.bout, "interrupted", 25 * S),
        (sit.bout, "interrupted", 20 * S),
    ]
    assert rows(copy, "SELECT * FROM open_bouts") == []


def test_evidence_never_moves_back_and_never_ends_a_bout_before_its_onset(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, enter(10), enter(10, "phone-2"))
        for t in (30, 20):
            log.evidence("phone-1", t * S)
            committed(log, said(t))
        log.evidence("phone-2", 5 * S)
        log.evidence("phone-3", 5 * S)
        committed(log, said(1))
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        ends = {event.stream: event.t_end for event in everything(log) if event.kind == "exit"}
    assert ends == {"phone-1": 30 * S, "phone-2": 10 * S}


def test_evidence_is_stored_at_close(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, enter(10))
        log.evidence("phone-1", 40 * S)
    with opened(path) as log:
        assert [event.t_end for event in everything(log)] == [None, 40 * S]


# -- files that are not ours -----------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "log.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(EventLogError, match=r"log\.db: cannot be used .* move the file away"):
        EventLog(path)
    assert path.read_bytes() == b"not a database" * 1000


def test_a_damaged_log_is_refused(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, *map(said, range(200)))
    body = bytearray(path.read_bytes())
    body[4096:] = bytes(len(body) - 4096)
    path.write_bytes(body)
    with pytest.raises(EventLogError, match="move the file away"):
        EventLog(path)


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "log.db"
    with opened(path):
        pass
    rows(path, "PRAGMA user_version = 2")
    with pytest.raises(EventLogError, match="schema 2 is newer than this program's 1"):
        EventLog(path)


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "log.db"
    rows(path, "CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(EventLogError, match="another program's tables"):
        EventLog(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EventLogError, match="check disk and permissions"):
        EventLog(tmp_path / "file" / "log.db")


def test_a_log_in_use_is_refused_until_it_is_closed(tmp_path):
    path = tmp_path / "log.db"
    with opened(path), pytest.raises(EventLogError, match="in use by another process"):
        EventLog(path)
    with opened(path):
        pass


def test_the_log_is_for_its_owner_only(tmp_path):
    with opened(tmp_path / "log.db"):
        assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("log.db*")} == {0}


def test_a_log_in_memory_warns_once_and_works(caplog):
    with opened(None) as log:
        committed(log, said(1))
        assert [event.seq for event in log.cursor("x", "oldest").read(9)] == [1]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_closing_ends_the_thread_and_commits_what_was_queued(tmp_path):
    path = tmp_path / "log.db"
    log = EventLog(path)
    log.append(map(said, range(3)))
    log.close()
    assert not log.is_alive
    log.append([said(4)])
    assert log.counts["dropped_uncommitted"] == 1
    with pytest.raises(EventLogError):
        log.read(0, 1)
    assert rows(path, "SELECT count(*) FROM events") == [(3,)]


# -- a file that somebody removes ------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_log_removed_while_it_is_in_use_is_written_anew_whole(tmp_path, caplog, what):
    path = tmp_path / "state" / "events.db"
    with opened(path) as log:
        committed(log, enter(1))
        if what == "folder":
            shutil.rmtree(path.parent)
        else:
            path.unlink()
        committed(log, enter(2))
        committed(log, enter(3))
        assert [event.t_start for event in everything(log)] == [S, 2 * S, 3 * S]
        with pytest.raises(EventLogError, match="in use"):
            EventLog(path)
    assert log.counts == {"files_removed": 1}
    assert caplog.text.count("removed while it was in use") == 1
    with opened(path) as log:
        kept = [event for event in everything(log) if event.kind == "enter"]
        assert kept == [enter(n).numbered(n) for n in (1, 2, 3)]


def test_a_log_that_cannot_be_written_anew_waits_in_memory(tmp_path):
    path = tmp_path / "state" / "events.db"
    with opened(path) as log:
        committed(log, enter(1))
        shutil.rmtree(path.parent)
        path.parent.write_text("no folder")
        log.append([enter(2)])
        assert not log.flush(0.2)
        assert log.is_failing
        path.parent.unlink()
        assert log.flush(5)
    with opened(path) as log:
        assert len([event for event in everything(log) if event.kind == "enter"]) == 2
