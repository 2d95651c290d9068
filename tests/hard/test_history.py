"""Events chosen from a log that is in use, told, exported and followed."""

import csv
import io
import threading
import time
from dataclasses import replace
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hard.eventfile import EventLogError, Wanted
from hard.eventlog import EventLog
from hard.history import COLUMNS, EventCsv, followed, listed, time_ns, told
from hard.testing import sample_events

S = 1_000_000_000


@pytest.fixture
def events():
    """Six bouts' beginnings on two streams, a second apart."""
    first = replace(sample_events(1)[0], reason=None)
    return [
        replace(first, stream=f"phone-{n % 2}", t_decided=n * S, t_start=n * S, seq=None)
        for n in range(1, 7)
    ]


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "events.db")
    yield log
    log.close()


def committed(log, events):
    log.append(events)
    assert log.flush(5)


def test_a_log_in_use_is_read_by_stream_time_kind_and_activity(log, events, tmp_path):
    path = tmp_path / "events.db"
    committed(log, [*events, replace(events[0], kind="exit", t_end=9 * S, t_decided=9 * S)])

    def seqs(newest=None, **wanted):
        return [event.seq for event in listed(path, Wanted(**wanted), newest)]

    assert seqs() == [1, 2, 3, 4, 5, 6, 7]
    assert seqs(stream="phone-1") == [1, 3, 5, 7]
    assert seqs(stream="phone-*", newest=2) == [6, 7]
    assert seqs(since_ns=2 * S, until_ns=5 * S) == [2, 3, 4]
    assert seqs(kind="exit") == [7]
    assert seqs(activity="nothing like it") == []
    assert seqs(activity=events[0].activity, kind="enter", newest=1) == [6]
    assert list(listed(path, Wanted())) == log.read(0, 100)


def test_a_log_that_is_not_there_or_no_log_is_told(tmp_path):
    with pytest.raises(EventLogError, match="no event log is there"):
        list(listed(tmp_path / "events.db", Wanted()))
    assert not (tmp_path / "events.db").exists()
    (tmp_path / "events.db").write_text("not a database, by far" * 100)
    with pytest.raises(EventLogError, match="can't be read"):
        list(listed(tmp_path / "events.db", Wanted()))


def test_what_comes_is_followed_also_into_another_file(log, events, tmp_path):
    path = tmp_path / "events.db"
    committed(log, events[:2])
    seen, stop = [], threading.Event()

    def follows():
        chosen = followed(path, Wanted(stream="phone-1"), stop.wait)
        seen.extend(event.t_start // S for event in chosen)

    def until_seen(expected):
        ends_s = time.monotonic() + 10
        while seen != expected:
            assert time.monotonic() < ends_s, seen
            time.sleep(0.01)

    thread = threading.Thread(target=follows)
    thread.start()
    try:
        until_seen([1])
        committed(log, events[2:4])
        until_seen([1, 3])
        path.unlink()  # the log writes itself anew
        committed(log, events[4:])
        until_seen([1, 3, 5])
    finally:
        stop.set()
        thread.join(10)


def test_an_event_is_told_in_the_time_of_where_one_lives(events):
    at_ns = 1_714_548_600 * S
    enter = replace(events[0], t_decided=at_ns, t_start=at_ns - 3 * S, seq=7, confidence=0.961)
    line = told(enter, ZoneInfo("Europe/Berlin"))
    assert line == f"7  2024-05-01 09:30:00  phone-1  enter  {enter.activity}  96%"
    ended = replace(enter, kind="exit", t_end=enter.t_start + 90 * S, reason="changed")
    assert told(ended, UTC).endswith(f"exit  {enter.activity}  90 s  (changed)")
    status = replace(enter, kind="status", previous="ok", status="no_data", activity=None)
    assert told(status, UTC).endswith("status  ok -> no_data")


def test_what_was_decided_long_after_it_happened_says_when_that_was(events):
    at_ns = 1_714_548_600 * S
    enter = replace(events[0], t_decided=at_ns, t_start=at_ns - 600 * S, confidence=0.961)
    assert told(enter, UTC).endswith("96%  since 2024-05-01 07:20:00")
    late = replace(enter, kind="exit", t_end=at_ns - 60 * S, reason="changed")
    assert told(late, UTC).endswith("540 s  until 2024-05-01 07:29:00  (changed)")


@settings(max_examples=50)
@given(st.text(), st.text() | st.none())
@example("phone\r1", "\r")
def test_no_text_becomes_a_formula_in_a_csv_and_every_row_can_be_read_back(stream, reason):
    out = io.StringIO()
    event = replace(sample_events(1)[0], stream=stream, reason=reason, t_decided=-S)
    EventCsv(out).write(event)
    names, row = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert tuple(names) == COLUMNS
    cells = dict(zip(names, row, strict=True))
    for name, text in (("stream", stream), ("reason", reason or "")):
        assert not cells[name].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cells[name].removeprefix("'") == text.removeprefix("'")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 1_000_000 - 7200),
        ("1.5d", 1_000_000 - 129_600),
        ("1970-01-02", 86_400 - 3600),
        # 1,000,000 s is 14:46:40 of 12 January in Berlin
        ("today", 950_400 - 3600),
        ("yesterday", 950_400 - 3600 - 86_400),
        ("yesterday 18:30", 950_400 - 3600 - 86_400 + 18.5 * 3600),
        ("06:00", 950_400 + 5 * 3600),
        ("14:46:40", 1_000_000),
        ("14:47", 1_000_000 + 20 - 86_400),
        ("9:05", 950_400 + 8 * 3600 + 300),
        ("1970-01-02T00:00:00Z", 86_400),
        ("1970-01-02 00:00:00.5+02:00", 86_400.5 - 7200),
    ],
)
def test_a_time_is_what_a_person_means(text, seconds):
    assert time_ns(text, 1_000_000 * S, ZoneInfo("Europe/Berlin")) == seconds * S


@pytest.mark.parametrize(
    "text",
    ["", "gestern", "25:00", "6:1", " 06:00", "today06:00", "2 h", "-2h", "2026-13-01", "1e9"],
)
def test_what_is_no_time_is_refused_by_its_text(text):
    with pytest.raises(ValueError, match="is no time: write 2h"):
        time_ns(text, 0, UTC)


def test_reading_beside_a_writer_never_holds_it_up(log, events, tmp_path):
    """A reader that stays in the middle of the log, and a writer that goes on."""
    committed(log, events * 50)
    reader = listed(tmp_path / "events.db", Wanted())
    next(reader)
    began_s = time.monotonic()
    for _ in range(20):
        committed(log, events)
    assert time.monotonic() - began_s < 10
    assert not log.is_failing
    assert sum(1 for _ in reader) == 299  # what was there when it began
    assert (tmp_path / "events.db-wal").stat().st_size < 8_000_000
