"""The runtime with real threads, a real log, and a pipeline that decides at once.

`Decider` says `enter` for a stream's first message, and one `status` event for every message, so
that each message fed is seen at the sinks.
"""

import contextlib
import json
import queue
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hard.api import (
    Declared,
    Description,
    Event,
    PluginConfig,
    SampleBatch,
    Sink,
    SinkUnavailable,
    Source,
    SourceUnavailable,
    StreamState,
    UnusableInput,
)
from hard.debugging import WindowBoard
from hard.decision import Explained
from hard.eventlog import EventLog
from hard.inbox import Refusal
from hard.runtime import REPEAT_S, Runtime, RuntimeOptions
from hard.states import StateBoard
from hard.threads import SAID_REASONS, SinkThread, SourceThread

PATIENCE_S = 60  # an emulated machine takes 15 s to start a process


def batch(stream, n, samples=1, max_delay_s=0.0):
    return SampleBatch(
        stream,
        "accel",
        np.full(samples, n, np.int64),
        np.zeros((samples, 3), np.float32),
        Declared("m/s2", max_delay_s=max_delay_s),
    )


def event(stream, n, kind="status", **more):
    return Event(
        kind=kind, stream=stream, t_decided=n, t_start=n, model="m", segment=0, **more
    )  # fmt: skip


def state(stream, n, activity="walking"):
    return StreamState(stream, "ok", activity, 0, n, 0.9, {}, "bout", "m", None)


class Decider:
    """A pipeline: remembers, in order, what it was given."""

    def __init__(self):
        self.counts = Counter()
        self.given = []
        self.changed = threading.Condition()
        self.opened = {}

    def _note(self, *what):
        with self.changed:
            self.given.append(what)
            self.changed.notify_all()

    def until(self, *what, times=1):
        with self.changed:
            happened = self.changed.wait_for(lambda: self.given.count(what) == times, PATIENCE_S)
            assert happened, self.given

    def feed(self, message):
        events = []
        for item in message:
            n = int(item.t[-1])
            if item.stream not in self.opened:
                self.opened[item.stream] = event(item.stream, n, "enter", activity="walking")
                events.append(self.opened[item.stream])
            events.append(event(item.stream, n, status="ok"))
            self._note("feed", item.stream, n)
        return events

    def tick(self, stream):
        self._note("tick", stream)
        return []

    def finish(self, reason):
        self._note("finish", reason)
        exits = [
            event(bout.stream, bout.t_start, "exit", activity="walking", reason=reason)
            for bout in self.opened.values()
        ]
        self.opened = {}
        return exits

    def state(self, stream):
        return state(stream, 0) if stream in self.opened else state(stream, 0, None)

    def evicted(self):
        return []

    def memories(self):
        return {}

    def evidence(self, streams=None):
        known = self.opened if streams is None else self.opened.keys() & set(streams)
        return {stream: self.opened[stream].t_start for stream in known}


class Played(Source):
    """Does what its script says: each `run` calls the next step, the last one for ever."""

    def __init__(self, name, *steps):
        super().__init__(name, PluginConfig())
        self.steps = list(steps)
        self.runs = 0
        self.running = threading.Event()

    def run(self, emit, stop):
        step = self.steps[min(self.runs, len(self.steps) - 1)]
        self.runs += 1
        self.running.set()
        step(emit, stop)


def emits(stream, *numbers):
    def step(emit, _):
        for n in numbers:
            emit([batch(stream, n)])

    return step


def raises(error):
    def step(*_):
        raise error

    return step


def idles(_, stop):
    while not stop.wait(0.1):
        pass


def then(*steps):
    def step(emit, stop):
        for each in steps:
            each(emit, stop)

    return step


class Collected(Sink):
    """Keeps and confirms what it is given, as long as it is told to be there."""

    def __init__(self, name="collected"):
        super().__init__(name, PluginConfig())
        self.calls = []
        self.events = []
        self.states = []
        self.changed = threading.Condition()
        self.present = True

    def _note(self, call):
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()
        if not self.present and call != "close":
            raise SinkUnavailable("gone")

    def open(self):
        self._note("open")

    def write(self, events, confirm):
        self._note("write")
        for each in events:
            with self.changed:
                self.events.append(each)
                self.changed.notify_all()
            confirm(each.seq)

    def update(self, state):
        self.states.append(state)
        self._note("update")

    def check(self):
        self._note("check")

    def drain(self, _):
        self._note("drain")

    def close(self):
        self._note("close")

    def until(self, predicate):
        with self.changed:
            assert self.changed.wait_for(predicate, PATIENCE_S), (self.calls, self.events)

    @property
    def fed(self):
        return [(each.stream, each.t_start) for each in self.events if each.kind == "status"]


class Keeping(Collected):
    """Takes events and confirms none of them until told to."""

    def __init__(self, name="keeping"):
        super().__init__(name)
        self.confirms = []

    def write(self, events, confirm):
        with self.changed:
            self.events.extend(events)
            self.confirms.append(confirm)
            self.changed.notify_all()


class Hanging(Collected):
    """Its first write never returns (until the test is over)."""

    def __init__(self, name="hanging"):
        super().__init__(name)
        self.release = threading.Event()

    def write(self, *_):
        self._note("write")
        self.release.wait(30)


class Running:
    """A runtime in a thread, with its log."""

    def __init__(self, path, sources, sinks=(), pipeline=None, **options):
        self.path = path
        self.log = EventLog(path)
        self.pipeline = pipeline or Decider()
        self.runtime = Runtime(
            self.pipeline,
            {source.name: source for source in sources},
            {sink.name: sink for sink in sinks},
            self.log,
            RuntimeOptions(**options),
        )
        self.code = None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.code = self.runtime.run()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.runtime.stop()
        self.ended()

    def ended(self):
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return self.code

    def kept(self):
        """What the log holds, once the run has ended."""
        log = EventLog(self.path)
        with contextlib.closing(log):
            return log.read(0, 1_000_000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "live" / "log.db"


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The service manager's side of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


# -- sources ---------------------------------------------------------------------------------


def test_at_the_end_of_data_everything_is_fed_written_and_closed(path):
    sink = Collected()
    with Running(path, [Played("file", emits("phone-1", *range(200)))], [sink]) as running:
        assert running.ended() == 0
    assert sink.fed == [("phone-1", n) for n in range(200)]
    assert [each.seq for each in sink.events] == list(range(1, 203))
    assert sink.events[-1].reason == "end_of_data"
    assert [each.activity for each in sink.states][-1] is None
    assert sink.calls[0] == "open"
    assert sink.calls[-2:] == ["drain", "close"]
    assert running.kept() == sink.events


def test_a_source_that_is_away_is_run_again_and_said_once_each_way(path, caplog):
    caplog.set_level("INFO")
    away = raises(SourceUnavailable("no such port"))
    source = Played("imu", away, away, emits("imu", 1))
    with Running(path, [source]) as running:
        assert running.ended() == 0
    assert source.runs == 3
    assert running.runtime.counts()["imu.outages"] == 1
    assert running.runtime.figures()["restarts"] == {"imu": 2}
    said = [each.message for each in caplog.records if each.message.startswith("imu")]
    assert said == ["imu: away, trying again until it is back: no such port", "imu: back"]


def test_an_outage_whose_reason_is_always_worded_otherwise_does_not_flood_the_log(caplog):
    thread = SourceThread(Played("imu", idles), lambda _: None, lambda: None)
    thread.stop()  # no pause is waited for
    for n in range(100):
        thread._pauses(SourceUnavailable(f"refused: request {n}"))
    assert len(caplog.records) == SAID_REASONS
    assert (thread.counts["outages"], thread.restarts) == (1, 100)


def test_an_outage_is_counted_once_when_it_begins_however_often_it_is_tried(path):
    gone = raises(SourceUnavailable("no such port", again_within_s=0.001))
    broken = then(emits("imu", 1), gone)
    source = Played("imu", *[gone] * 20, broken, *[gone] * 20, emits("imu", 2))
    with Running(path, [source]) as running:
        assert running.ended() == 0
    assert running.runtime.counts()["imu.outages"] == 2
    assert running.runtime.figures()["restarts"] == {"imu": 41}


def test_what_is_cheap_to_look_for_is_looked_for_soon_however_long_it_was_away(path):
    gone = raises(SourceUnavailable("no such port", again_within_s=0.01))
    source = Played("imu", *[gone] * 30, emits("imu", 1))  # else they would back off for minutes
    with Running(path, [source]) as running:
        assert running.ended() == 0
    assert source.runs == 31


def test_a_source_with_a_bug_is_restarted_then_given_up_while_another_runs_on(path, caplog):
    sink = Collected()
    broken = Played("broken", raises(ZeroDivisionError("oops")))
    sound = Played("sound", then(emits("phone-1", 1), idles))
    with Running(path, [broken, sound], [sink]) as running:
        running.pipeline.until("feed", "phone-1", 1)
        broken_thread = running.runtime._sources[0]
        assert broken_thread.join(PATIENCE_S)
        assert (broken.runs, broken_thread.state) == (6, "failed")
        assert running.runtime.counts()["broken.bugs"] == 6
        assert running.thread.is_alive()
    assert running.code == 0
    assert sink.fed == [("phone-1", 1)]
    bugs = [each for each in caplog.records if "a bug" in each.message]
    assert len(bugs) == 6
    assert [bool(each.exc_info) for each in bugs] == [True] + [False] * 5


def test_unusable_input_is_not_tried_again_and_fails_the_run(path, caplog):
    source = Played("file", raises(UnusableInput("walk.csv: no column accel_x")))
    with Running(path, [source]) as running:
        assert running.ended() == 1
    assert source.runs == 1
    assert "file: cannot be used: walk.csv: no column accel_x" in caplog.text


class Expecting(Played):
    """Remembers which streams it was told of."""

    def expect(self, streams):
        self.expected = streams


def test_a_source_is_told_which_streams_an_earlier_run_knew_before_it_runs(path):
    first = Expecting("phones", emits("phone-1", 1))
    with Running(path, [first]) as running:
        running.ended()
    assert first.expected == []
    second = Expecting("phones", lambda *_: second.seen.append(second.expected))
    second.seen = []
    with Running(path, [second]) as running:
        running.ended()
    assert second.seen == [["phone-1"]]


def test_a_source_that_breaks_where_it_is_told_so_runs_all_the_same(path, caplog):
    class Broken(Played):
        def expect(self, _):
            raise ZeroDivisionError

    with Running(path, [Broken("phones", emits("phone-1", 1))]) as running:
        assert running.ended() == 0
    assert "phones: a bug: it could not be told which streams are known" in caplog.text
    assert {each.stream for each in running.kept()} == {"phone-1"}


def test_a_sys_exit_in_a_plugin_does_not_go_unseen(path):
    source = Played("rude", raises(SystemExit(3)), emits("phone-1", 1))
    with Running(path, [source]) as running:
        assert running.ended() == 0
    running.pipeline.until("feed", "phone-1", 1)


# -- the pipeline's thread -------------------------------------------------------------------


def test_the_pipeline_is_told_once_of_each_silence(path):
    pipeline = Decider()

    def hesitates(emit, stop):
        for n in (1, 2):
            emit([batch("phone-1", n)])
            pipeline.until("tick", "phone-1", times=n)
            stop.wait(0.4)  # three times as long as between two looks for silence

    source = Played("mqtt", hesitates)
    with Running(path, [source], pipeline=pipeline, no_data_after_s=0.02) as running:
        assert running.ended() == 0
    assert pipeline.given == [
        ("feed", "phone-1", 1),
        ("tick", "phone-1"),
        ("feed", "phone-1", 2),
        ("tick", "phone-1"),
        ("finish", "end_of_data"),
    ]


def test_a_message_that_breaks_the_pipeline_costs_itself_only(path, caplog):
    class Fragile(Decider):
        def feed(self, message):
            if message[0].t[0] == 2:
                raise ZeroDivisionError
            return super().feed(message)

    sink = Collected()
    source = Played("file", emits("phone-1", 1, 2, 3))
    with Running(path, [source], [sink], Fragile()) as running:
        assert running.ended() == 0
    assert sink.fed == [("phone-1", 1), ("phone-1", 3)]
    counts = running.runtime.counts()
    assert (counts["pipeline.bugs"], counts["pipeline.lost_samples"]) == (1, 1)
    assert "ZeroDivisionError" in caplog.text


def test_a_pipeline_that_always_breaks_ends_the_run_with_a_failure(path):
    class Broken(Decider):
        def feed(self, _):
            raise ZeroDivisionError

    source = Played("mqtt", then(emits("phone-1", *range(9)), idles))
    with Running(path, [source], pipeline=Broken()) as running:
        assert running.ended() == 1
    counts = running.runtime.counts()
    assert (counts["pipeline.bugs"], counts["inbox.dropped_messages"]) == (6, 3)


def test_a_kill_ends_an_open_bout_at_the_evidence_last_noted(path, tmp_path):
    class Walking(Decider):
        evident = threading.Event()

        def evidence(self, streams=None):
            if streams is not None:
                return super().evidence(streams)
            if self.opened:
                self.evident.set()
            return dict.fromkeys(self.opened, 777)

    pipeline = Walking()

    def emits_on(emit, _):
        emit([batch("phone-1", 1)])
        assert pipeline.evident.wait(PATIENCE_S)
        emit([batch("phone-1", 2)])  # evidence is stored with the next commit
        assert running_log.wait(2, PATIENCE_S)
        shutil.copytree(path.parent, tmp_path / "killed")

    running = Running(path, [Played("mqtt", emits_on)], pipeline=pipeline)
    running_log = running.log
    with running:
        assert running.ended() == 0
    log = EventLog(tmp_path / "killed" / path.name)
    with contextlib.closing(log):
        last = log.read(0, 9)[-1]
    assert (last.kind, last.reason, last.t_end) == ("exit", "interrupted", 777)


# -- sinks -----------------------------------------------------------------------------------


def test_a_sink_that_was_away_gets_everything_in_order_and_the_states_again(path, caplog):
    caplog.set_level("INFO")
    steps = queue.SimpleQueue()

    def stepwise(emit, _):
        while (n := steps.get(timeout=PATIENCE_S)) is not None:
            emit([batch("phone-1", n)])

    sink = Collected()
    with Running(path, [Played("mqtt", stepwise)], [sink]) as running:
        steps.put(1)
        sink.until(lambda: sink.fed == [("phone-1", 1)])
        sink.present = False
        for n in range(2, 50):
            steps.put(n)
        sink.until(lambda: "close" in sink.calls)
        sink.present = True
        sink.until(lambda: len(sink.fed) == 49)
        steps.put(None)
        assert running.ended() == 0
    assert sink.fed == [("phone-1", n) for n in range(1, 50)]
    reopened = sink.calls.index("open", sink.calls.index("close"))
    again = sink.calls[reopened:]
    while again[1] in {"open", "close"}:
        again = again[1:]
    assert again[:3] == ["open", "update", "write"]
    said = [each.message for each in caplog.records if each.message.startswith("collected")]
    assert said == ["collected: away, trying again until it is back: gone", "collected: back"]


def test_what_is_in_flight_is_bounded_and_not_written_twice(path):
    sink = Keeping()
    source = Played("mqtt", then(emits("phone-1", *range(249)), idles))
    with Running(path, [source], [sink], shutdown_s=0.5) as running:
        sink.until(lambda: len(sink.events) == 100)
        assert running.log.wait(200, PATIENCE_S)
        with sink.changed:
            assert not sink.changed.wait_for(lambda: len(sink.events) > 100, 0.2)
        for seq in range(1, 101):
            sink.confirms[0](seq)
        sink.until(lambda: len(sink.events) == 200)
    assert [each.seq for each in sink.events][:200] == list(range(1, 201))
    log = EventLog(path)
    with contextlib.closing(log):
        assert log.cursor("keeping").position == 100
        assert log.newest == 251  # enter, 249 and exit: what is not delivered stays


def test_a_slow_sink_delays_no_other(path):
    fast, slow = Collected("fast"), Hanging("slow")
    source = Played("mqtt", then(emits("phone-1", *range(300)), idles))
    with Running(path, [source], [slow, fast], shutdown_s=0.3) as running:
        slow.until(lambda: "write" in slow.calls)
        fast.until(lambda: len(fast.fed) > 200)
        assert running.thread.is_alive()
        assert slow.calls.count("write") == 1
    slow.release.set()


def test_a_sink_with_a_bug_is_given_up_and_the_others_run_on(path):
    class Buggy(Collected):
        def write(self, *_):
            self._note("write")
            raise KeyError("topic")

    buggy, sound = Buggy("buggy"), Collected("sound")
    source = Played("mqtt", then(emits("phone-1", 1), idles))
    with Running(path, [source], [buggy, sound]) as running:
        buggy.until(lambda: buggy.calls.count("close") == 6)
        thread = running.runtime._sinks[0]
        assert thread.join(PATIENCE_S)
        assert thread.state == "failed"
        assert buggy.calls.count("open") == 6
        sound.until(lambda: sound.fed == [("phone-1", 1)])


def test_a_sink_thread_works_alone_as_replay_uses_it():
    log = EventLog(None)
    with contextlib.closing(log):
        sink = Collected()
        states = StateBoard()
        states.show("phone-1", state("phone-1", 1))
        thread = SinkThread(sink, log.cursor("collected"), states)
        thread.start()
        log.append([event("phone-1", n) for n in range(250)])
        assert log.flush(PATIENCE_S)
        thread.finish(PATIENCE_S)
        assert thread.join(PATIENCE_S)
        assert [each.t_start for each in sink.events] == list(range(250))
        assert sink.states == [state("phone-1", 1)]
        assert thread.cursor.backlog == 0


class Showing(Collected):
    """Tells in order all that it is told to show."""

    def __init__(self):
        super().__init__("showing")
        self.shown = []

    def _show(self, *what):
        with self.changed:
            self.shown.append(what)
            self.changed.notify_all()
        if not self.present:
            raise SinkUnavailable("gone")

    def open(self):
        self._show("open")

    def describe(self, description):
        self._show("describe", description.stream, description.model)

    def update(self, state):
        self._show("update", state.stream)

    def summarise(self, summary):
        self._show("summarise", summary.stream, summary.date)

    def retire(self, stream):
        self._show("retire", stream)

    def forget(self, stream):
        self._show("forget", stream)

    def report(self, health):
        self._show("report", health["degraded"])

    def explain(self, window):
        self._show("explain", window["t_start"], window["chosen"])


def described(stream, model):
    return Description(stream, stream, model, ("walking", "sitting"), ("sitting",))


@contextlib.contextmanager
def shown_to(sink, states, **more):
    log = EventLog(None)
    thread = SinkThread(sink, log.cursor(sink.name), states, describe=described, **more)
    thread.start()
    try:
        yield thread
    finally:
        thread.finish(PATIENCE_S)
        assert thread.join(PATIENCE_S)
        log.close()


def test_a_sink_learns_what_a_stream_is_called_before_what_it_is_and_when_its_model_changes():
    sink, states = Showing(), StateBoard()
    states.show("phone-1", state("phone-1", 1))
    with shown_to(sink, states):
        sink.until(lambda: sink.shown[-1] == ("update", "phone-1"))
        states.show("phone-1", state("phone-1", 2, "sitting"))
        sink.until(lambda: sink.shown[-2:] == [("update", "phone-1")] * 2)
        states.show("phone-1", replace(state("phone-1", 3), model="m2"))
        sink.until(lambda: sink.shown.count(("update", "phone-1")) == 3)
    update = ("update", "phone-1")
    first, second = (("describe", "phone-1", model) for model in ("m", "m2"))
    assert sink.shown == [("open",), first, update, update, second, update]


def judged(t_start):
    return Explained("phone-1", t_start, t_start + 1, {}, None, 0.0, 0.0, {}, "walking", None)


def test_a_sink_that_shows_windows_is_told_how_each_was_judged():
    sink, states, board = Showing(), StateBoard(), WindowBoard()
    sink.shows_windows = True
    with shown_to(sink, states, windows=board) as thread:
        for t_start in range(3):
            board.put(judged(t_start))
        thread.cursor.wake()
        sink.until(lambda: sink.shown[1:] == [("explain", t, "walking") for t in range(3)])


def test_a_sink_that_shows_no_windows_hears_of_none():
    sink, states, board = Showing(), StateBoard(), WindowBoard()
    with shown_to(sink, states, windows=board) as thread:
        board.put(judged(0))
        states.show("phone-1", state("phone-1", 1))
        thread.cursor.wake()
        sink.until(lambda: sink.shown[-1] == ("update", "phone-1"))
    assert board.since(0) == (0, [])


def test_a_sink_that_is_away_forgets_a_stream_when_it_is_back():
    sink, states = Showing(), StateBoard()
    sink.present = False
    with shown_to(sink, states) as thread:
        done = thread.forget("phone-1")
        sink.until(lambda: sink.shown == [("open",)])
        assert not done.is_set()
        sink.present = True
        assert done.wait(PATIENCE_S)
    assert sink.shown == [("open",), ("open",), ("forget", "phone-1")]


def test_a_stream_that_made_room_is_retired_again_after_each_open_until_it_comes_back():
    sink, states = Showing(), StateBoard()
    states.show("phone-1", state("phone-1", 1))
    states.show("phone-1", None)
    with shown_to(sink, states):
        sink.until(lambda: sink.shown == [("open",), ("retire", "phone-1")])
        states.show("phone-1", state("phone-1", 2))
        sink.until(lambda: sink.shown[-1] == ("update", "phone-1"))
    with shown_to(sink, states):
        sink.until(lambda: sink.shown[-1] == ("update", "phone-1"))
    assert sink.shown.count(("retire", "phone-1")) == 1


def test_a_stream_that_comes_back_after_it_was_forgotten_or_retired_is_introduced_anew():
    sink, states = Showing(), StateBoard()
    comes = [("describe", "phone-1", "m"), ("update", "phone-1")]
    with shown_to(sink, states) as thread:
        states.show("phone-1", state("phone-1", 1))
        sink.until(lambda: sink.shown[-2:] == comes)
        states.show("phone-1", None)
        sink.until(lambda: sink.shown[-1] == ("retire", "phone-1"))
        states.show("phone-1", state("phone-1", 2))
        sink.until(lambda: sink.shown[-2:] == comes)
        states.forget("phone-1")
        assert thread.forget("phone-1").wait(PATIENCE_S)
        states.show("phone-1", state("phone-1", 3))
        sink.until(lambda: sink.shown[-2:] == comes)
    assert len(sink.shown) == 9


def test_a_sink_is_told_the_health_at_once_and_when_what_is_degraded_changes():
    sink, told = Showing(), {"degraded": None}
    with shown_to(sink, StateBoard(), health=lambda: dict(told)):
        sink.until(lambda: sink.shown == [("open",), ("report", None)])
        told["degraded"] = "the disk is full"
        sink.until(lambda: sink.shown[-1] == ("report", "the disk is full"))
    assert len(sink.shown) == 3


def test_clearing_a_stream_tells_which_sinks_have_done_so(path):
    present, away = Showing(), Collected("away")
    away.present = False
    source = Played("mqtt", then(emits("phone-1", 1), idles))
    with Running(path, [source], [present, away]) as running:
        present.until(lambda: ("update", "phone-1") in present.shown)
        assert running.runtime.clear("phone-1", 0.5) == {"showing": True, "away": False}
        assert present.shown[-1] == ("forget", "phone-1")
        assert running.runtime.status(10)["streams"][0]["status"] is None


# -- shutdown --------------------------------------------------------------------------------


def test_what_was_accepted_before_the_stop_is_fed_and_written(path):
    accepted = []

    def floods(emit, stop):
        while not stop.is_set():
            accepted.append(("phone-1", len(accepted)))
            emit([batch("phone-1", len(accepted) - 1)])
            stop.wait(0.0005)

    sink = Collected()
    with Running(path, [Played("mqtt", floods)], [sink]) as running:
        sink.until(lambda: len(sink.fed) > 200)
        running.runtime.stop()
        assert running.ended() == 0
    assert sink.fed == accepted
    assert not any("dropped" in name for name in running.runtime.counts())
    assert sink.events[-1].reason == "shutdown"


def test_hung_threads_are_named_and_left_behind_at_the_deadline(path, caplog):
    released = threading.Event()
    sink = Hanging("stuck-sink")
    source = Played("stuck-source", then(emits("phone-1", 1), lambda *_: released.wait(30)))
    sound = Collected("sound")
    with Running(path, [source], [sink, sound], shutdown_s=0.7) as running:
        sink.until(lambda: "write" in sink.calls)
        began_s = time.monotonic()
        running.runtime.stop()
        assert running.ended() == 0
        assert time.monotonic() - began_s < 1.4
        assert running.runtime.leaves_threads
    assert "stuck-sink hangs and is left behind" in caplog.text
    assert "stuck-source hangs and is left behind" in caplog.text
    assert "sound hangs" not in caplog.text
    assert sound.events[-1].reason == "shutdown"
    sink.release.set()
    released.set()
    log = EventLog(path)
    with contextlib.closing(log):
        assert [each.kind for each in log.cursor("stuck-sink").read(9)] == [
            "enter",
            "status",
            "exit",
        ]


def test_a_sink_with_too_much_to_do_at_the_end_is_not_said_to_hang(path, caplog):
    class Slow(Collected):
        released = threading.Event()

        def update(self, state):
            super().update(state)
            self.released.wait(0.02)

    sink = Slow("slow")
    crowd = [emits(f"phone-{n}", 1) for n in range(500)]
    with Running(path, [Played("mqtt", then(*crowd, idles))], [sink], shutdown_s=0.7) as running:
        sink.until(lambda: sink.states)
        running.runtime.stop()
        assert running.ended() == 0
        assert running.runtime.leaves_threads
    sink.released.set()
    assert "slow hangs" not in caplog.text
    told = r"shutdown: slow did not get done in time: \d+ events wait in the log for the next start"
    assert re.search(told, caplog.text)


def test_a_pipeline_that_hangs_costs_its_inbox_and_the_exit_is_still_in_time(path, caplog):
    class Stuck(Decider):
        released = threading.Event()

        def feed(self, message):
            self._note("stuck")
            self.released.wait(30)
            return super().feed(message)

    pipeline = Stuck()
    source = Played("mqtt", then(emits("phone-1", 1, 2, 3), idles))
    with Running(path, [source], pipeline=pipeline, shutdown_s=0.6) as running:
        pipeline.until("stuck")
        began_s = time.monotonic()
        running.runtime.stop()
        running.ended()
        assert time.monotonic() - began_s < 1.2
    pipeline.released.set()
    assert "pipeline hangs and is left behind" in caplog.text
    assert running.runtime.counts()["inbox.dropped_messages"] == 2


def test_a_second_request_to_stop_leaves_at_once(path):
    sink = Hanging()
    with Running(path, [Played("mqtt", then(emits("phone-1", 1), idles))], [sink]) as running:
        sink.until(lambda: "write" in sink.calls)
        running.runtime.stop()
        sink.release.wait(REPEAT_S + 0.1)
        began_s = time.monotonic()
        running.runtime.stop()
        running.ended()
        assert time.monotonic() - began_s < 1.0
    sink.release.set()


def test_the_same_request_to_stop_sent_twice_leaves_no_bout_open(path):
    sink = Collected()
    with Running(path, [Played("mqtt", then(emits("phone-1", 40), idles))], [sink]) as running:
        sink.until(lambda: sink.events)
        running.runtime.stop()
        running.runtime.stop()
        assert running.ended() == 0
    assert sink.events[-1].reason == "shutdown"


def test_a_sink_that_is_away_does_not_hold_up_the_exit(path):
    sink = Collected()
    sink.present = False
    with Running(path, [Played("mqtt", idles)], [sink], shutdown_s=60.0) as running:
        sink.until(lambda: "close" in sink.calls)
        running.runtime.stop()
        assert running.ended() == 0


SERVICE = """
    import sys
    from pathlib import Path
    from hard.eventlog import EventLog
    from hard.runtime import Runtime, RuntimeOptions
    sys.path.insert(0, sys.argv[1])
    from test_runtime import Collected, Decider, Played, emits, idles, then

    source = Played("mqtt", then(emits("phone-1", 1), idles))
    log = EventLog(Path(sys.argv[2]))
    sys.exit(Runtime(Decider(), {"mqtt": source}, {}, log, RuntimeOptions()).run())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_cleanly(path, manager, number):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVICE), str(Path(__file__).parent), str(path)]
    )
    with process:
        assert manager.recv(1024) == b"READY=1"
        process.send_signal(number)
        assert process.wait(5) == 0
    log = EventLog(path)
    with contextlib.closing(log):
        assert [each.reason for each in log.read(0, 9)] == [None, None, "shutdown"]


# -- exchanged while it runs -----------------------------------------------------------------


def test_sources_and_sinks_are_exchanged_while_the_others_run_on(path):
    kept, old, new = Collected("kept"), Collected("home"), Collected("home")
    steady = Played("steady", then(emits("a", 1), idles))
    first, second = Played("phone", then(emits("b", 1), idles)), Played("phone", emits("b", 2))
    with Running(path, [steady, first], [kept, old]) as running:
        old.until(lambda: len(old.fed) == 2)
        assert running.runtime.exchange({"phone": None}, {"home": None}) == []
        assert old.calls[-2:] == ["drain", "close"]
        assert not running.runtime._is_over()
        gone = running.runtime.status(10)
        assert [each["name"] for each in gone["sources"] + gone["sinks"]] == ["steady", "kept"]
        again = Played("again", then(emits("c", 1), idles))
        assert running.runtime.exchange({"again": again}, {}) == []
        kept.until(lambda: len(kept.fed) == 3)
        assert running.runtime.exchange({"phone": second}, {"home": new}) == []
        new.until(lambda: len(new.fed) == 2)
        assert (steady.runs, first.runs, second.runs) == (1, 1, 1)
    assert sorted(kept.fed) == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]
    assert [e.seq for e in old.events + new.events] == [e.seq for e in kept.events]


def test_the_last_source_may_be_exchanged_without_ending_the_run(path):
    sink = Collected()
    first = Played("phone", then(emits("a", 1), idles))
    with Running(path, [first], [sink]) as running:
        sink.until(lambda: len(sink.fed) == 1)
        second = Played("phone", then(emits("a", 2), idles))
        running.runtime.exchange({"phone": second}, {})
        sink.until(lambda: len(sink.fed) == 2)
        assert running.thread.is_alive()


def test_a_source_that_was_given_up_can_be_started_anew(path):
    broken = Played("phone", raises(UnusableInput("no such file")))
    with Running(path, [broken, Played("steady", idles)], [Collected()]) as running:
        until_failed = threading.Event()
        while running.runtime.failed() != (["phone"], []):
            until_failed.wait(0.01)
        running.runtime.exchange({"phone": Played("phone", idles)}, {})
        assert running.runtime.failed() == ([], [])
        assert running.runtime.health()["degraded"] is None


def test_without_a_configuration_a_reload_is_refused_and_costs_nothing(path):
    with Running(path, [Played("phone", idles)], [Collected()]) as running:
        with pytest.raises(Refusal, match="no configuration"):
            running.runtime.reload()
        assert running.runtime.health()["degraded"] is None


def test_a_refused_reload_stands_in_the_status_until_one_succeeds(path, manager, caplog):
    refusals = [Refusal("bad_configuration", "hard.toml:1: a: wrong\nhard.toml:2: b: wrong")]

    def reload():
        if refusals:
            raise refusals.pop()
        return {"changed": [], "needs_restart": []}

    log = EventLog(path)
    runtime = Runtime(Decider(), {}, {}, log, RuntimeOptions(), reload=reload)
    with contextlib.closing(log):
        with pytest.raises(Refusal, match="wrong"):
            runtime.reload()
        told = manager.recv(4096).decode()
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", told)
        text = "bad_configuration, the old runs on: hard.toml:1: a: wrong (and 1 more)"
        assert manager.recv(4096).decode().startswith("READY=1\nSTATUS=")
        assert runtime.health()["degraded"] == text
        assert [r.message for r in caplog.records if "b: wrong" in r.message]
        runtime.reload()
        assert runtime.health()["degraded"] is None
        assert runtime.status(1)["reload"]["ok"]


# -- what systemd is told --------------------------------------------------------------------


def heard(manager, timeout_s):
    manager.settimeout(timeout_s)
    with contextlib.suppress(TimeoutError):
        return manager.recv(4096).decode()


def test_systemd_is_told_readiness_status_life_and_the_end(path, manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    sink = Collected()
    with Running(path, [Played("mqtt", then(emits("phone-1", 1), idles))], [sink]) as running:
        sink.until(lambda: sink.fed)
        told = [heard(manager, PATIENCE_S) for _ in range(5)]
        status = running.runtime._status()
        assert " samples/s, 2 events (the last: phone-1 status ok 00:00:00Z), backlog " in status
        running.runtime.stop()
        running.ended()
        while (more := heard(manager, 0.01)) is not None:
            told.append(more)
    assert told[0] == "READY=1"
    assert told.count("WATCHDOG=1") >= 3
    statuses = [each for each in told if each.startswith("STATUS=")]
    assert len(statuses) == 1
    assert re.search(r"\d stream.*, \d+ samples/s, \d events.*, backlog \d", statuses[0])
    assert told.count("STOPPING=1") == 1


def test_the_watchdog_is_not_fed_while_the_pipeline_hangs(path, manager, monkeypatch, caplog):
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    class Stuck(Decider):
        released = threading.Event()

        def feed(self, message):
            self._note("stuck")
            self.released.wait(30)
            return super().feed(message)

    pipeline = Stuck()
    source = Played("mqtt", then(emits("phone-1", 1), idles))
    with Running(path, [source], pipeline=pipeline, hung_after_s=0.6) as running:
        pipeline.until("stuck")
        while heard(manager, 0.4) is not None:  # eight times as long as between two feeds
            pass
        assert "pipeline: makes no progress, the watchdog is no longer fed" in caplog.text
        assert running.runtime.unhealthy() == ["pipeline makes no progress"]
        pipeline.released.set()
        assert heard(manager, PATIENCE_S) == "WATCHDOG=1"
        assert running.runtime.unhealthy() == []
        assert running.thread.is_alive()


def test_a_source_in_back_off_and_an_idle_one_count_as_alive(path, manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    away = Played("away", raises(SourceUnavailable("no broker")))
    waits = Played("waits", lambda _, stop: stop.wait())
    with Running(path, [away, waits], hung_after_s=0.6):
        told = [heard(manager, PATIENCE_S) for _ in range(12)]
    assert told.count("WATCHDOG=1") >= 10


def test_what_failed_and_a_log_that_cannot_be_written_stand_in_the_status(path):
    failed = Played("file", raises(UnusableInput("no such file")))
    with (
        Running(path, [failed, Played("mqtt", idles)]) as running,
        contextlib.closing(sqlite3.connect(path)) as other,
    ):
        assert failed.running.wait(PATIENCE_S)
        assert running.runtime._sources[0].join(PATIENCE_S)
        other.execute("BEGIN IMMEDIATE")
        running.log.append([event("phone-1", 1)])
        assert not running.log.flush(0.5)
        assert running.runtime._status() == (
            "0 streams, 0 samples/s, 0 events, backlog 0; degraded: the event log cannot be written"
            "; failed: file"
        )
        assert running.runtime.unready() == ["the event log cannot be written"]
        other.rollback()
        assert running.log.wait(0, PATIENCE_S)
        assert running.runtime.unready() == []
        assert running.runtime._status() == (
            "0 streams, 0 samples/s, 0 events, backlog 0; degraded: failed: file"
        )


def test_without_a_source_that_runs_and_while_it_stops_it_is_not_ready(path):
    away = Played("mqtt", raises(SourceUnavailable("gone")))
    with Running(path, [away]) as running:
        assert away.running.wait(PATIENCE_S)
        until(lambda: running.runtime.unready() == ["no source runs"])
        running.runtime.stop()
        until(lambda: "it is stopping" in running.runtime.unready())
        assert running.ended() == 0


def test_the_figures_tell_how_old_the_oldest_event_is_that_a_sink_has_not_had(path):
    fast, slow = Collected("fast"), Keeping("slow")
    source = Played("mqtt", then(emits("phone-1", *range(8)), idles))
    with Running(path, [source], [fast, slow]) as running:
        slow.until(lambda: len(slow.events) == 9)
        until(lambda: running.runtime.figures()["backlog_s"]["slow"] > 0)
        figures = running.runtime.figures()
        assert json.loads(json.dumps(figures)) == figures
        assert figures["samples"] == {"accel": 8}
        assert (figures["events"], figures["streams"]) == (9, {"ok": 1})
        assert figures["backlog"]["slow"] == 9
        assert figures["up"] == {"mqtt": True, "fast": True, "slow": True}
        for seq in range(1, 10):
            slow.confirms[0](seq)
        until(lambda: set(running.runtime.figures()["backlog_s"].values()) == {0.0})


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_the_health_tells_what_is_behind_away_and_dropped(path):
    sink = Collected("home")
    sink.present = False
    emitting = Played("mqtt", then(emits("phone-1", 1), idles))
    with Running(path, [emitting], [sink]) as running:
        sink.until(lambda: "close" in sink.calls)
        assert running.log.wait(1, PATIENCE_S)
        health = running.runtime.health()
        assert json.loads(json.dumps(health)) == health
        assert health["backlog"] == {"home": 2}
        assert (health["streams"], health["events"]) == (1, 2)
        assert (health["dropped_samples"], health["dropped_events"]) == (0, 0)
        assert health["degraded"] == "away: home"
        assert 10 < health["rss_mb"] < 2000
        assert 0 <= health["uptime_s"] < 6 * PATIENCE_S
        sink.present = True
        sink.until(lambda: len(sink.events) == 2)
    assert running.runtime.health()["degraded"] is None
