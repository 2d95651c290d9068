"""The event log on real files, with real kills, locks and size limits."""

import contextlib
import json
import os
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
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard import eventlog
from hard.api import Event
from hard.eventfile import files_aside, from_body, to_body
from hard.eventlog import MAX_IN_FLIGHT, Bounds, EventLog, EventLogError

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


def until(condition):
    """Wait for the log's own thread, looking often."""
    ends_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.005)


def rows(path, query):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(query).fetchall()


def copied(path, folder):
    """What a kill at this instant would leave: the file and what lies beside it."""
    folder.mkdir()
    for suffix in ("", "-wal", ".evidence"):
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


@pytest.mark.fast_fault("F9")
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


@pytest.mark.fast_fault("F12")
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


def test_a_sink_that_left_is_not_counted_for_and_goes_on_where_it_was_when_it_returns(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        cursor = log.cursor("mqtt")
        committed(log, *map(said, range(3)))
        cursor.read(9)
        cursor.confirm(1)
        log.leave("mqtt")
        committed(log, said(3))
        again = log.cursor("mqtt")
        assert again is not cursor
        assert [event.seq for event in again.read(9)] == [2, 3, 4]
        log.leave("mqtt")
        log.leave("never there")
    with opened(path) as log:
        assert [event.seq for event in log.cursor("mqtt").read(9)] == [2, 3, 4]


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
    with opened(path, bounds=Bounds(max_events=10)) as log:
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


def test_streams_are_told_the_latest_first_and_before_them_those_whose_bouts_a_kill_left_open(
    tmp_path,
):
    with opened(tmp_path / "log.db") as log:
        committed(log, enter(1, "walks"))
        for n, stream in enumerate(("flood-1", "flood-2", "flood-1")):
            committed(log, replace(said(n), stream=stream))
        assert log.streams() == ["flood-1", "flood-2", "walks"]
        copy = copied(tmp_path / "log.db", tmp_path / "copy")
    with opened(copy) as log:
        assert log.streams() == ["walks", "flood-1", "flood-2"]


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


@pytest.mark.parametrize(("known", "end_s", "decided_s"), [(14, 14, 14), (12, 12, 13), (0, 10, 13)])
def test_a_bout_just_begun_at_a_kill_ends_at_the_evidence_of_its_enter_decided_no_earlier_than_it(
    tmp_path, known, end_s, decided_s
):
    path = tmp_path / "log.db"
    begun = enter(10)  # decided at 13 s
    with opened(path) as log:
        log.append([begun], evidence={"phone-1": known * S} if known else {})
        assert log.flush(10.0)
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        exit_ = everything(log)[-1]
    assert (exit_.bout, exit_.reason) == (begun.bout, "interrupted")
    assert (exit_.t_start, exit_.t_end, exit_.t_decided) == (10 * S, end_s * S, decided_s * S)


def test_evidence_of_a_minute_without_events_is_noted_beside_the_file_alone(tmp_path):
    path = tmp_path / "log.db"
    noted = tmp_path / "log.db.evidence"
    with opened(path, lazy_s=0.05) as log:
        committed(log, enter(10), enter(10, "phone-2"))
        before = (tmp_path / "log.db-wal").stat().st_size
        log.evidence("phone-1", 20 * S)
        until(noted.exists)
        log.evidence("phone-2", 30 * S)
        until(lambda: str(30 * S) in noted.read_text())
        assert (tmp_path / "log.db-wal").stat().st_size == before
        copy = copied(path, tmp_path / "copy")
        torn = copied(path, tmp_path / "torn")
    noted = torn.with_name("log.db.evidence")
    noted.write_text(noted.read_text().replace("3", "4"))
    for place, expected in ((copy, (20, 30)), (torn, (10, 10))):
        with opened(place) as log:
            ends = {e.stream: e.t_end for e in everything(log) if e.kind == "exit"}
        assert ends == dict(zip(("phone-1", "phone-2"), (t * S for t in expected), strict=True))


def test_evidence_goes_into_the_log_where_nothing_can_be_written_beside_it(tmp_path):
    path = tmp_path / "log.db"
    (tmp_path / "log.db.evidence").mkdir()
    with opened(path, lazy_s=0.05) as log:
        committed(log, enter(10))
        log.evidence("phone-1", 20 * S)
        until(lambda: rows(path, "SELECT evidence_ns FROM open_bouts") == [(20 * S,)])
        assert not log.is_failing


def test_what_is_known_already_is_not_written_again(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        for state in ({"n": 1}, {"n": 1}, {"n": 2}, {"n": 1}):
            log.append([], {"phone-1": state})
            assert log.flush(5)
        assert log.states() == {"phone-1": {"n": 1}}
        before = (tmp_path / "log.db-wal").stat().st_size
        log.append([], {"phone-1": {"n": 1}})
        assert log.flush(5)
        assert (tmp_path / "log.db-wal").stat().st_size == before
        log.forget("phone-1")
        log.append([], {"phone-1": {"n": 1}})
        assert log.flush(5)
        assert log.states() == {"phone-1": {"n": 1}}


def test_evidence_is_stored_at_close(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, enter(10))
        log.evidence("phone-1", 40 * S)
    with opened(path) as log:
        assert [event.t_end for event in everything(log)] == [None, 40 * S]


# -- what the pipeline knows -----------------------------------------------------------------


def test_what_is_known_of_a_stream_is_committed_with_its_events_and_found_again(tmp_path):
    """Whenever the file is copied, the state is that of the last event in it."""
    path = tmp_path / "log.db"
    with opened(path) as log:
        for n in range(1, 6):
            log.append([said(n)], {"phone-1": {"n": n}, "phone-2": {"old": n}})
            assert log.wait(n - 1, 5)
            ((seq, states),) = rows(
                path,
                "SELECT (SELECT count(*) FROM events),"
                " (SELECT json_group_object(stream, json(state)) FROM streams)",
            )
            assert json.loads(states) == {"phone-1": {"n": seq}, "phone-2": {"old": seq}}
        log.append([], {"phone-2": None, "phone-3": {"no": "event"}})
    with opened(path) as log:
        assert log.states() == {"phone-1": {"n": 5}, "phone-3": {"no": "event"}}


def test_a_state_that_does_not_change_is_not_written(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        committed(log, said(1))
        log.append([], {"phone-1": {"n": 1}})
        until(lambda: rows(path, "SELECT * FROM streams"))
        size = path.with_name("log.db-wal").stat().st_size
        for _ in range(3):
            log.append([], {"phone-1": {"n": 1}})
            until(lambda: not log._states)
        assert path.with_name("log.db-wal").stat().st_size == size


def test_a_state_that_is_no_json_is_left_out_and_counted(tmp_path, caplog):
    path = tmp_path / "log.db"
    with opened(path) as log:
        log.append([], {"phone-1": {"n": 1}, "phone-2": {}})
    rows(path, "UPDATE streams SET state = '{' WHERE stream = 'phone-1'")
    with opened(path) as log:
        assert log.states() == {"phone-2": {}}
        assert log.counts == {"bad_states": 1}
    assert "phone-1" in caplog.text


# -- delivering again ------------------------------------------------------------------------


def drained(cursor):
    """Read and confirm all that the cursor has; return the numbers."""
    seqs = []
    while cursor.is_behind:
        for event in cursor.read(100):
            seqs.append(event.seq)
            cursor.confirm(event.seq)
    return seqs


def test_a_sink_gets_again_what_it_is_told_to_of_all_streams_or_of_one(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        cursor, other = log.cursor("mqtt"), log.cursor("other")
        committed(log, *(enter(n, f"phone-{n % 3}") for n in range(1, 31)))
        assert drained(cursor) == drained(other) == list(range(1, 31))
        assert cursor.deliver_again(27) == 3
        assert drained(cursor) == [28, 29, 30]
        assert cursor.deliver_again(10, "phone-1") == 6
        committed(log, enter(31, "phone-2"))
        assert drained(cursor) == [13, 16, 19, 22, 25, 28, 31]
        assert drained(other) == [31]
        assert cursor.deliver_again(20, "phone-1") == 3
        assert [e.seq for e in cursor.read(100)] == [22, 25, 28, 31][:3]
        cursor.confirm(22)
    with opened(path) as log:
        assert drained(log.cursor("mqtt"))[:3] == [25, 28, 32]  # an exit of a bout left open


def test_what_is_read_while_it_is_told_to_deliver_again_comes_again(tmp_path):
    """Told from another thread, whenever that is, everything from there on is given."""
    with opened(tmp_path / "log.db") as log:
        cursor = log.cursor("mqtt")
        committed(log, *map(said, range(1, 3001)))
        seqs, told = [], threading.Event()

        def tells():
            until(lambda: cursor.position > 300)
            cursor.deliver_again(100)
            told.set()

        teller = threading.Thread(target=tells)
        teller.start()
        while not told.is_set() or cursor.is_behind:
            for event in cursor.read(7):
                seqs.append(event.seq)
                cursor.confirm(event.seq)
        teller.join()
        again = seqs[next(i for i in range(1, len(seqs)) if seqs[i] < seqs[i - 1]) :]
        assert again == list(range(101, 3001))


def test_the_number_at_a_time_is_the_one_before_its_first_event(tmp_path):
    with opened(tmp_path / "log.db") as log:
        committed(log, *(enter(n, f"phone-{n % 2}") for n in range(1, 9)))
        decided = [event.t_decided for event in everything(log)]
        assert log.number_at(decided[3]) == 3
        assert log.number_at(decided[3] + 1, "phone-0") == 5
        assert log.number_at(decided[-1] + 1) == 8


# -- forgetting ------------------------------------------------------------------------------


def test_a_stream_that_is_forgotten_leaves_no_trace_in_the_files(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        mqtt = log.cursor("mqtt")
        for n in range(50):
            log.append([enter(n, "secret-1"), enter(n, "phone-1")], {"secret-1": {"at": n}})
        assert log.flush(5)
        log.append([enter(50, "secret-1")])
        for sink in (mqtt, log.cursor("other")):
            sink.must_forget("secret-1")
        assert log.forget("secret-1") >= 50
        committed(log, enter(51, "phone-1"))
        assert {event.stream for event in everything(log)} == {"phone-1"}
        assert log.states() == {}
        assert {event.stream for event in mqtt.read(100)} == {"phone-1"}
        assert (mqtt.to_forget(), log.cursor("third").to_forget()) == (["secret-1"], [])
        remains = rows(path, "DELETE FROM forgotten RETURNING sink, stream")  # its name only
        assert remains == [("mqtt", "secret-1"), ("other", "secret-1")]
    for file in tmp_path.iterdir():
        assert b'secret-1"' not in file.read_bytes(), file


def test_what_a_sink_has_to_clear_is_known_until_it_has(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        log.cursor("mqtt").must_forget("phone-1")
        log.forget("phone-1")
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        cursor = log.cursor("mqtt")
        assert cursor.to_forget() == ["phone-1"]
        cursor.forgot("phone-1")
        assert cursor.to_forget() == []
    with opened(copy) as log:
        assert log.cursor("mqtt").to_forget() == []


# -- bounds ----------------------------------------------------------------------------------


def test_the_file_stays_within_its_bytes_and_what_goes_is_counted(tmp_path):
    path = tmp_path / "log.db"
    with opened(path, bounds=Bounds(max_bytes=2_000_000)) as log:
        cursor = log.cursor("slow")
        for n in range(20):
            committed(log, *(said(n * 1000 + i) for i in range(1000)))
        assert path.stat().st_size <= 2_000_000
        kept = everything(log)
        assert kept[-1].seq == 20_000
        assert [event.seq for event in kept] == list(range(kept[0].seq, 20_001))
        assert len(kept) > 8_000
        assert cursor.dropped == kept[0].seq - 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_events_age_by_when_they_were_committed_and_go_after_their_days(tmp_path):
    path, day, now = tmp_path / "log.db", 86_400 * S, [1_780_000_000 * S]
    for n, days in enumerate([0, 80, 89, 91, 200]):
        now[0] = 1_780_000_000 * S + days * day
        with opened(path, now_ns=lambda: now[0]) as log:
            cursor = log.cursor("away", "oldest")
            log.append([said(n)], {f"phone-{n}": {}})
            assert log.flush(5)
            kept = [event.t_start for event in everything(log)]
            streams = set(log.states())
        if days == 91:
            assert kept == [1, 2, 3]
            assert streams == {"phone-1", "phone-2", "phone-3"}
            assert cursor.dropped == 1
    assert kept == [4]


def test_a_clock_that_is_not_set_makes_nothing_old(tmp_path):
    """A machine without a battery starts in 1970 and learns the time later."""
    path, now = tmp_path / "log.db", [1000 * S]
    for n in range(3):
        with opened(path, now_ns=lambda: now[0]) as log:
            committed(log, said(n))
        now[0] = (1_780_000_000 + n) * S
    with opened(path, now_ns=lambda: now[0]) as log:
        committed(log, said(3))
        assert [event.t_start for event in everything(log)] == [0, 1, 2, 3]
    now[0] += 91 * 86_400 * S
    with opened(path, now_ns=lambda: now[0]) as log:
        committed(log, said(4))
        assert [event.t_start for event in everything(log)] == [4]


# -- older files -----------------------------------------------------------------------------


OF_SCHEMA_1 = """
    CREATE TABLE events (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE cursors (sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE open_bouts (
      bout TEXT PRIMARY KEY, seq INTEGER NOT NULL, stream TEXT NOT NULL,
      evidence_ns INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX open_bouts_stream ON open_bouts (stream, seq);
    CREATE TABLE boots (
      boot INTEGER PRIMARY KEY, t_ns INTEGER NOT NULL, first_seq INTEGER NOT NULL,
      skipped_first INTEGER, skipped_last INTEGER);
    CREATE TABLE numbers (reserved INTEGER NOT NULL);
    PRAGMA journal_mode = WAL;
    PRAGMA user_version = 1;
    INSERT INTO boots VALUES (1, 7, 1, NULL, NULL);
    INSERT INTO numbers VALUES (13000);
    INSERT INTO cursors VALUES ('mqtt', 500), ('file', 4000);
"""


def test_a_log_of_the_older_schema_with_a_full_outbox_is_taken_over_whole(tmp_path, caplog):
    """Its process was killed in the middle of a walk, its broker was long away."""
    path = tmp_path / "log.db"
    first = 1_779_000_000
    events = [enter(first + n, f"phone-{n % 7}") for n in range(4_000)]
    walk = events[-1]
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(OF_SCHEMA_1)
        old = [(n, to_body(event)) for n, event in enumerate(events, 1)]
        db.executemany("INSERT INTO events VALUES (?, ?)", old)
        walking = (walk.bout, 4_000, walk.stream, walk.t_start + 9 * S, to_body(walk))
        db.execute("INSERT INTO open_bouts VALUES (?, ?, ?, ?, ?)", walking)
        db.commit()
    caplog.set_level("INFO")
    with opened(path, now_ns=lambda: (first + 86_400) * S) as log:
        assert "from schema 1 to 2" in caplog.text
        assert everything(log)[:-1] == [event.numbered(n) for n, event in enumerate(events, 1)]
        (exit_,) = log.read(4_000, 10)
        assert (exit_.seq, exit_.bout, exit_.reason) == (13_001, walk.bout, "interrupted")
        assert exit_.t_end == walk.t_start + 9 * S
        mqtt, file = log.cursor("mqtt"), log.cursor("file")
        assert drained(mqtt) == [*range(501, 4_001), 13_001]
        assert drained(file) == [13_001]
        assert (mqtt.dropped, file.dropped) == (0, 0)
        log.append([said(1)], {"phone-1": {"knows": "more"}})
    assert rows(path, "PRAGMA user_version") == [(2,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    old_ns = (first + 91 * 86_400) * S
    with opened(path, now_ns=lambda: old_ns) as log:  # by the data time that they have
        committed(log, said(2))
        assert [event.seq for event in everything(log)] == [13_001, 13_002, 13_003]


def test_a_change_of_schema_that_is_cut_off_is_made_again(tmp_path):
    path = tmp_path / "log.db"
    rows(path, "PRAGMA journal_mode = WAL")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(OF_SCHEMA_1)
        db.execute("BEGIN")
        db.execute("ALTER TABLE events ADD COLUMN t_logged INTEGER NOT NULL DEFAULT 0")
        copy = copied(path, tmp_path / "copy")
    with opened(copy) as log:
        committed(log, said(1))
        assert [event.seq for event in everything(log)] == [13_001]


# -- files that are damaged ------------------------------------------------------------------


def set_aside(path):
    return sorted(f for f in path.parent.glob(f"{path.name}.damaged-*") if "-wal" not in f.name)


def test_a_file_that_is_no_database_is_set_aside_as_it_was(tmp_path, caplog):
    path = tmp_path / "log.db"
    path.write_bytes(b"not a database" * 1000)
    with opened(path) as log:
        committed(log, said(1))
        assert log.counts == {"files_damaged": 1}
    (aside,) = set_aside(path)
    assert aside.read_bytes() == b"not a database" * 1000
    assert f"set aside as {aside.name}" in caplog.text
    with opened(path) as log:
        assert len(everything(log)) == 1
        assert log.counts == {}


def test_what_can_be_read_of_a_damaged_log_is_kept_and_no_number_given_again(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        cursor = log.cursor("mqtt")
        committed(log, *(enter(n, f"phone-{n}") for n in range(3000)))
        log.append([leave(enter(n, f"phone-{n}"), (n + 1) * S) for n in range(1, 3000)])
        assert log.flush(5)
        cursor.read(10)
        cursor.confirm(1)
        log.append([], {"phone-1": {"knows": 1}})
        shown = log.newest
        copy = copied(path, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(copy)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    body = bytearray(copy.read_bytes())
    middle = len(body) // 8192 * 4096
    body[middle : middle + 8192] = b"\xff" * 8192
    copy.write_bytes(body)
    with opened(copy) as log:
        kept = everything(log)
        assert 2000 < len(kept) < shown
        assert kept[0].seq == 1
        committed(log, said(1))
        assert log.newest > max(shown, 1_700_000_000)
        assert log.counts == {"files_damaged": 1}
        assert log.cursor("mqtt").backlog < 2 * shown
    skipped = rows(copy, "SELECT skipped_last FROM boots ORDER BY boot DESC LIMIT 1")
    assert skipped[0][0] > 1_700_000_000


def test_a_log_damaged_while_it_is_in_use_goes_on_in_another_file(tmp_path):
    path = tmp_path / "log.db"
    with opened(path) as log:
        cursor = log.cursor("mqtt")
        walk = enter(1)
        committed(log, walk, *map(said, range(2000)))
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA user_version = 2")  # a change that makes the log read the file again
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 200_000)
        log.append([said(1), leave(walk, 9 * S)])
        assert log.flush(10)
        assert log.counts["files_damaged"] == 1
        assert not log.is_failing
        assert [event.kind for event in everything(log)][-2:] == ["status", "exit"]
        assert log.newest > 1_700_000_000
        assert drained(cursor)[-2:] == [log.newest - 1, log.newest]
    assert len(set_aside(path)) == 1
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_damaged_files_do_not_pile_up_and_go_with_their_days(tmp_path):
    path = tmp_path / "log.db"
    for n in range(5):
        path.write_bytes(b"%d" % n * 5000)
        path.with_name("log.db-wal").unlink(missing_ok=True)
        with opened(path):
            pass
    aside = set_aside(path)
    assert [file.read_bytes()[:1] for file in aside] == [b"3", b"4"]
    later = time.time_ns() + 91 * 86_400 * S
    with opened(path, now_ns=lambda: later) as log:
        committed(log, said(1))
    assert set_aside(path) == []


def test_a_log_cut_at_any_byte_opens_goes_on_and_gives_no_number_twice(tmp_path):
    """Copies of the file and its write-ahead log at any instant, each cut anywhere."""
    path = tmp_path / "log.db"
    rng = random.Random(5)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(APPENDING), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    copies = []
    with process:
        for n in range(9):
            for _ in range(rng.randint(1, 6)):
                line = process.stdout.readline().split()
            copies.append((copied(path, tmp_path / f"copy{n}"), int(line[1])))
        process.kill()
    damaged = 0
    for copy, known in copies:
        wal = copy.with_name("log.db-wal")
        files = rng.choice([[copy], [wal], [copy, wal], []])
        for file in files:
            os.truncate(file, rng.randrange(file.stat().st_size + 1))
        with opened(copy) as log:
            committed(log, said(1))
            damaged += log.counts["files_damaged"]
            seqs = [event.seq for event in everything(log)]
            assert seqs == sorted(set(seqs))
            assert seqs[-1] > known
            if not files:
                assert len(seqs) > known - 2000 * 97
        assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert 0 < damaged < len(copies)


# -- disks that are full or read-only --------------------------------------------------------


ON_A_SMALL_DISK = """
    import os, subprocess, sys, time
    from pathlib import Path
    from hard.api import Event
    from hard.eventlog import EventLog
    disk = Path(sys.argv[1])
    def mounted(*options):
        subprocess.run(["mount", *options, str(disk)], check=True)
    def said(n):
        return Event(kind="status", stream="s", t_decided=n, t_start=n, model="m", segment=0)
    def shown(log):
        print(log.trouble, log.newest, len(log.read(0, 10_000)), dict(log.counts), flush=True)
    mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs")
    filler = disk / "filler"
    def fill():
        with filler.open("ab", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
    log = EventLog(disk / "log.db")
    cursor = log.cursor("mqtt")
    log.append([said(1)])
    assert log.flush(5)
    fill()
    for n in range(2, 2000):
        log.append([said(n)])
    log.flush(0.5)
    shown(log)
    filler.unlink()
    assert log.flush(5)
    shown(log)
    log.close()

    fill()  # and a start on a full disk
    log = EventLog(disk / "log.db")
    cursor = log.cursor("mqtt")
    log.append(map(said, range(2000, 2010)))
    log.flush(0.3)
    print(log.trouble, log.newest, cursor.is_behind)
    filler.unlink()
    assert log.flush(5)
    shown(log)
    log.close()

    mounted("-o", "remount,ro")  # and on one that is read-only
    log = EventLog(disk / "log.db")
    cursor = log.cursor("mqtt")
    log.append(map(said, range(2010, 2020)))
    log.flush(0.3)
    print(log.trouble, log.newest, cursor.backlog)
    mounted("-o", "remount,rw")
    assert log.flush(5)
    shown(log)
    print([e.t_start for e in cursor.read(100)] == list(range(1, 101)), cursor.backlog)
    log.close()
"""


@pytest.mark.fast_fault("F12")
def test_a_disk_that_is_full_or_read_only_for_a_while_at_any_time_loses_nothing(tmp_path):
    """A real one of 4 MB, in a mount namespace of its own."""
    apart = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    done = subprocess.run(
        [*apart, sys.executable, "-c", textwrap.dedent(ON_A_SMALL_DISK), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, freed, start, started, read_only, writable, order = done.stdout.splitlines()
    assert full.startswith("disk full ")
    assert full.split()[2] == full.split()[3]
    assert freed == "None 1999 1999 {}"
    assert start == "disk full 0 False"
    assert started == "None 2009 2009 {}"
    assert read_only == "disk read-only 0 0"
    assert writable == "None 2019 2019 {}"
    assert order == "True 2019"
    assert done.stderr.count("the disk has room for") == 3  # once for each log


# -- files that are not ours -----------------------------------------------------------------


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "log.db"
    with opened(path):
        pass
    rows(path, "PRAGMA user_version = 3")
    with pytest.raises(EventLogError, match="schema 3 is newer than this program's 2"):
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


def test_a_log_that_another_took_the_place_of_is_written_anew_and_the_other_set_aside(
    tmp_path, caplog
):
    path, other = tmp_path / "events.db", tmp_path / "other" / "events.db"
    with opened(other) as log:
        committed(log, enter(9))
    with opened(path) as log:
        committed(log, enter(1))
        other.replace(path)
        committed(log, enter(2))
        committed(log, enter(3))
        assert [event.t_start for event in everything(log)] == [S, 2 * S, 3 * S]
    (aside,) = files_aside(path, "replaced")
    assert rows(aside, "SELECT body ->> '$.t_start' FROM events WHERE seq = 1") == [(9 * S,)]
    assert log.counts == {"files_removed": 1}
    assert f"replaced by a file that is now {aside.name}, while it was in use" in caplog.text
    with opened(path) as log:
        assert [e.t_start for e in everything(log) if e.kind == "enter"] == [S, 2 * S, 3 * S]


def test_a_log_that_another_was_copied_over_is_set_aside_and_numbers_go_on(tmp_path, caplog):
    path, other = tmp_path / "events.db", tmp_path / "other" / "events.db"
    with opened(other) as log:
        committed(log, enter(9))
    with opened(path) as log:
        committed(log, *(enter(n) for n in range(1, 40)))
        newest = log.newest
        path.write_bytes(other.read_bytes())
        committed(log, enter(50))
        assert everything(log)[-1].t_start == 50 * S
        assert everything(log)[-1].seq > newest
        assert log.counts["files_damaged"] == 1
    assert len(files_aside(path, "damaged")) == 1
    assert "damaged" in caplog.text


def test_a_log_that_somebody_else_only_tidied_up_goes_on(tmp_path):
    path = tmp_path / "events.db"
    with opened(path) as log:
        for n in range(1, 6):
            committed(log, enter(n))
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                db.execute("VACUUM")
        assert [event.t_start for event in everything(log)] == [n * S for n in range(1, 6)]
        assert not log.counts


def test_without_its_lock_a_log_is_still_held(tmp_path):
    path = tmp_path / "events.db"
    with opened(path) as log:
        committed(log, enter(1))
        Path(f"{path}.lock").unlink()
        with pytest.raises(EventLogError, match="in use by another process"):
            EventLog(path)
        path.unlink()
        committed(log, enter(2))  # written anew
        Path(f"{path}.lock").unlink()
        with pytest.raises(EventLogError, match="in use by another process"):
            EventLog(path)
        committed(log, enter(3))
        assert [event.t_start for event in everything(log)] == [S, 2 * S, 3 * S]


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
