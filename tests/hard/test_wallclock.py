"""This machine's clock: when it is believed, when it was set, and what a daemon makes meanwhile."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from hard.api import NS_PER_S, Declared, PluginConfig, SampleBatch, Source
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.eventfile import Wanted, reading, wanted_events
from hard.eventlog import EventLog
from hard.inbox import Refusal
from hard.pipeline import Pipeline
from hard.runtime import Runtime, RuntimeOptions
from hard.schema import payload_of
from hard.wallclock import WallClock, synchronised
from hard_simulator.model import Bout, Motion, Wearer
from tests.test_daemon import until

S = NS_PER_S
TODAY = 1_790_000_000 * S
HOUR = 3600 * S


class Clocks:
    """A wall clock that may be set, and a monotonic one that goes on; `told` as the system's."""

    def __init__(self, wall_ns=TODAY, told=None):
        self.wall_ns, self.monotonic_ns, self.told = wall_ns, 50 * S, told

    def of(self, known_ns=0):
        return WallClock(
            known_ns,
            now_ns=lambda: self.wall_ns,
            monotonic_ns=lambda: self.monotonic_ns,
            is_synchronised=lambda: self.told,
        )

    def go_on(self, seconds):
        self.wall_ns += int(seconds * S)
        self.monotonic_ns += int(seconds * S)


def test_a_clock_that_begins_at_1970_is_doubted_until_it_is_set():
    clocks = Clocks(wall_ns=30 * S)
    clock = clocks.of()
    assert clock.doubt() == "this machine's clock shows 1970-01-01: it is not set yet"
    clocks.wall_ns = TODAY
    assert clock.look() == TODAY - 30 * S
    assert clock.doubt() is None


def test_what_is_decided_right_after_is_flagged_still_as_it_may_rest_on_what_came_before():
    clocks = Clocks(wall_ns=30 * S)
    clock = clocks.of()
    assert clock.is_unsynced()
    clocks.wall_ns = TODAY
    clocks.go_on(9)
    assert clock.is_unsynced()
    clocks.go_on(2)
    assert not clock.is_unsynced()


def test_a_clock_behind_what_an_earlier_run_wrote_is_doubted_until_it_is_past_that():
    clocks = Clocks()
    clock = clocks.of(known_ns=TODAY + HOUR)
    assert "before 2026-09-21T15:13:20.000Z, which it has already been" in clock.doubt()
    clocks.go_on(3590)
    assert clock.doubt() is None


def test_a_clock_that_was_ahead_is_believed_at_once_where_network_time_has_set_it():
    clocks = Clocks(told=True)
    clock = clocks.of(known_ns=TODAY + 1000 * HOUR)
    assert clock.doubt() is None
    clock.look()
    clocks.told = None  # and it stays so once nobody tells any more
    assert clock.doubt() is None


def test_a_clock_that_waits_for_network_time_is_doubted_though_it_looks_right():
    clocks = Clocks(told=False)
    clock = clocks.of()
    assert clock.doubt() == "this machine's clock is not synchronised yet"
    clocks.told = True
    assert clock.doubt() is None


@pytest.mark.parametrize("step_s", [3600, -3600, 11])
def test_a_clock_that_is_set_is_noticed_once(step_s):
    clocks = Clocks(told=True)
    clock = clocks.of()
    clocks.go_on(1)
    assert clock.look() == 0
    clocks.wall_ns += step_s * S
    clocks.go_on(1)
    assert clock.look() == step_s * S
    assert clock.look() == 0


def test_a_clock_that_goes_back_by_an_hour_is_doubted_where_nobody_says_which_was_right():
    clocks = Clocks()
    clock = clocks.of()
    clock.look()
    clocks.wall_ns -= HOUR
    assert "which it has already been" in clock.doubt()


def test_a_correction_is_neither_told_nor_doubted():
    clocks = Clocks()
    clock = clocks.of()
    clock.look()
    clocks.wall_ns -= 5 * S
    assert clock.look() == 0
    assert clock.doubt() is None


def test_this_very_system_says_yes_no_or_nothing():
    assert synchronised() in {True, False, None}


# -- what a daemon makes -------------------------------------------------------------------------


class Turns(Source):
    """Emits what it is handed; counts how often it was told that the clock was set."""

    def __init__(self):
        super().__init__("phone", PluginConfig())
        self.turn, self.set = queue.SimpleQueue(), 0

    def run(self, emit, stop):
        while not stop.is_set():
            try:
                emit(self.turn.get(timeout=0.05))
            except queue.Empty:
                continue

    def clock_set(self):
        self.set += 1


@pytest.fixture(scope="module")
def classifier():
    return TFLiteClassifier.load("pocket")


def walk_and_rest():
    """Return messages of a second each, of somebody who walks and stands by turns."""
    rng = np.random.default_rng(7)
    bouts = [Bout(activity, 20.0) for activity in ("walking", "standing") * 2]
    accel, gyro = Motion(Wearer.draw("pocket", rng), bouts, 50.0, rng).read(80 * 50)
    messages = []
    for at in range(0, len(accel), 50):
        t = TODAY + np.arange(at, at + 50, dtype=np.int64) * (S // 50)
        messages.append(
            [
                SampleBatch("phone", "accel", t, accel[at : at + 50], Declared("m/s2")),
                SampleBatch("phone", "gyro", t, gyro[at : at + 50], Declared("rad/s")),
            ]
        )
    return messages


def run_with(clocks, classifier, moves):
    """Run a daemon whose clock is moved before the message of a number; return its events."""
    source, log = Turns(), EventLog(None)
    pipeline = Pipeline(lambda stream: (classifier, DecisionSettings()))
    runtime = Runtime(pipeline, {"phone": source}, {}, log, RuntimeOptions(), clock=clocks.of())
    thread = threading.Thread(target=runtime.run)
    thread.start()
    events = []
    try:
        for number, message in enumerate(walk_and_rest(), 1):
            if number in moves:
                fed(runtime, number - 1)
                clocks.wall_ns += moves[number]
                clocks.go_on(11)
                n = list(moves).index(number) + 1
                until(lambda n=n: runtime.counts().get("clock.set", 0) == n)
            source.turn.put(message)
        fed(runtime, number)
        log.flush(5)
        events = log.read(0, 1000)
    finally:
        runtime.stop()
        thread.join(10)
    return events, source


def fed(runtime, messages):
    """Wait until so many messages have been decided about."""
    until(lambda: runtime.figures()["samples"].get("accel", 0) == messages * 50)
    with pytest.raises(Refusal, match="not paused"):
        runtime.resume("phone", 10.0)  # is refused in its turn


def without(events):
    """Return what the clock has no part in."""
    return [replace(event, clock_unsynced=None) for event in events]


def test_from_1970_to_today_and_an_hour_to_and_fro_no_window_moves(classifier):
    right, _ = run_with(Clocks(), classifier, {})
    moves = {30: TODAY - 30 * S, 45: HOUR, 55: -HOUR}
    moved, source = run_with(Clocks(wall_ns=30 * S), classifier, moves)
    assert without(moved) == right
    assert [e.activity for e in moved if e.kind == "enter"] == ["walking", "standing"] * 2
    assert source.set == 1  # the hour back is doubted: nobody says which was right
    flags = [bool(event.clock_unsynced) for event in moved if event.kind == "enter"]
    assert flags == [True, True, False, True]


def test_the_exit_of_a_bout_that_began_in_doubt_is_flagged_too(classifier):
    moves = {50: TODAY - 30 * S}  # while the second bout lasts
    events, _ = run_with(Clocks(wall_ns=30 * S), classifier, moves)
    entered = {event.bout: event.clock_unsynced for event in events if event.kind == "enter"}
    exits = [event for event in events if event.kind == "exit"]
    assert len(exits) == 3
    assert all(event.clock_unsynced == entered[event.bout] for event in exits)
    assert not any(event.clock_unsynced for event in right_without_doubt(classifier))


def right_without_doubt(classifier):
    events, _ = run_with(Clocks(told=True), classifier, {})
    return events


def test_a_flag_is_in_the_payload_where_it_is_true_and_survives_the_log(tmp_path, classifier):
    events, _ = run_with(Clocks(wall_ns=30 * S), classifier, {})
    path = tmp_path / "events.db"
    log = EventLog(path)
    log.append(events)
    log.close()
    with contextlib.closing(reading(path)) as db:
        read = list(wanted_events(db, Wanted(), print))
    assert [event.clock_unsynced for event in read] == [True] * len(events)
    assert all(payload_of("event", event.payload()).clock_unsynced for event in read)
    (right, *_) = without(read)
    assert "clock_unsynced" not in right.payload()


def test_a_daemon_whose_log_was_written_later_than_now_says_so(tmp_path):
    """A real process with the real clock of this machine, which network time has not set."""
    if synchronised():
        pytest.skip("this machine's clock is known to be right")
    tomorrow_ns = time.time_ns() + 24 * HOUR
    log = EventLog(tmp_path / "events.db", now_ns=lambda: tomorrow_ns)
    log.close()
    config = tmp_path / "hard.toml"
    config.write_text(
        f'[hard]\nnode = "pi"\nstate_dir = "{tmp_path}"\n[sources.demo]\nplugin = "simulator"\n'
        'script = ["walking:20"]\nrealtime = false\n[sinks.log]\nplugin = "jsonl"\n'
        f'path = "{tmp_path}/events.jsonl"\n'
    )
    command = [sys.executable, "-m", "hard", "run", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "which it has already been" in done.stderr
    lines = (tmp_path / "events.jsonl").read_text("utf-8").splitlines()
    assert lines
    assert all(json.loads(line)["clock_unsynced"] is True for line in lines)
