"""`hard record` and `[record]`: what live was fed comes back whole, and gives the same events."""

import gzip
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hard.api import (
    Annotation,
    Calibrate,
    Declared,
    Evicted,
    Pause,
    Remembered,
    Renew,
    Resume,
    SampleBatch,
    Silence,
    UnusableInput,
)
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.eventlog import EventLog
from hard.pipeline import Pipeline
from hard.plugins import create
from hard.recording import COLUMNS, MAX_HELD_LABELS, MAX_TEXT, Limits, Recorder, recordings_in
from hard.upright import Reference
from hard_file.hard_recording import HEADER, is_hard_recording, open_hard_recording
from hard_file.recording import Options
from tests.broker import Broker
from tests.calling import Forked, hard
from tests.test_daemon import (
    EPOCH_NS,
    WALK,
    Phone,
    _busy,
    a_walk,
    comparable,
    daemon,
    disordered,
    events_of,
    listening,
    messages,
    replayed,
    until,
)
from tests.test_daemon import simulator as simulator  # noqa: PLC0414 - a fixture

PHONE = Declared("g", None, 3.0, "device", 99.5)


def batch(t, values, sensor="accel", stream="phone-1", declared=PHONE, **more):
    values = np.array(values, np.float32).reshape(-1, 3)
    return SampleBatch(stream, sensor, np.array(t, np.int64), values, declared, **more)


def recorded(folder, given, limits=Limits(), about=lambda _: {}):  # noqa: B008 - frozen
    recorder = Recorder(folder, limits, about)
    recorder.start()
    for message in given:
        recorder.take(message)
    assert recorder.close(10)
    return recorder


def read(path, skip=lambda *_: None):
    return list(open_hard_recording(path, Options()).messages(skip))


def plain(message):
    """Return a message as what can be compared, floats by their bits."""
    return [
        (i.stream, i.sensor, i.t.tolist(), i.values.tobytes(), i.declared, i.t_received_ns,
         i.message_id)
        if isinstance(i, SampleBatch) else i
        for i in message
    ]  # fmt: skip


def some_messages(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return [
        [
            batch(
                rng.integers(0, 2**62, 50),
                rng.normal(0, 10, (50, 3)),
                t_received_ns=i,
                message_id=i,
            )
        ]
        for i in range(n)
    ]


# -- the files -----------------------------------------------------------------------------------


def test_what_was_given_comes_back_in_its_order_and_to_the_bit(tmp_path):
    given = [
        [batch([5, 3, 3], np.float32([[1 / 3, -0.0, 1e-40], [3e38, 7, 8], [9, 1e-9, 2]]))],
        [
            batch([-(2**63), 2**63 - 1], [[1, 2, 3], [4, 5, 6]], t_received_ns=77, message_id=9),
            batch([1], [[1, 2, 3]], t_received_ns=77, message_id=9),
            batch([], []),
            batch([2], [[1, 2, 3]], "gyro", declared=Declared("deg/s")),
            Annotation("phone-1", 12, 'stairs, "up"'),
        ],
        [Silence("phone-1")],
        [Calibrate("phone-1")],
        [Evicted("phone-1")],
        [Pause("phone-1")],
        [Pause("phone-1", 1_700_000_000_000_000_001)],
        [Resume("phone-1")],
        [Renew("phone-1", {"model": "waist@1", "decision": {"bout_s": 20.0}})],
        [Remembered("phone-1", {"upright": {"gravity": [0.5, 9.5, 1.0]}})],
        [batch([6], [[np.nan, np.inf, -np.inf]], message_id=2**70)],
        [Annotation("phone-1", 13, "")],
    ]
    recorded(tmp_path, given)
    (path,) = recordings_in(tmp_path.iterdir())
    assert [plain(m) for m in read(path)] == [plain(m) for m in given]


def test_each_stream_has_files_of_its_own_and_metadata_that_say_what_they_are(tmp_path):
    both = [batch([1], [[1, 2, 3]]), batch([2], [[1, 2, 3]], stream="b", declared=Declared("g"))]
    recorded(tmp_path, [both], about=lambda stream: {"model": f"{stream}@1"})
    (session,) = tmp_path.iterdir()
    assert sorted(p.name for p in session.iterdir()) == [
        "b.0001.csv.gz",
        "b.json",
        "phone-1.0001.csv.gz",
        "phone-1.json",
    ]
    body = json.loads((session / "phone-1.json").read_text("utf-8"))
    assert (body["stream"], body["model"], body["version"]) == ("phone-1", "phone-1@1", 1)
    assert body["declared"]["accel"]["unit"] == "g"
    assert body["start"] < body["end"]
    assert session.stat().st_mode & 0o077 == 0
    with pytest.raises(UnusableInput, match=r"b\.json, phone-1\.json"):
        open_hard_recording(session, Options())
    assert recordings_in([session]) == [session / "b.json", session / "phone-1.json"]


def test_reader_and_writer_agree_on_the_columns():
    assert ",".join(COLUMNS) == HEADER


def test_only_wanted_streams_are_written(tmp_path):
    both = [batch([1], [[1, 2, 3]]), batch([2], [[1, 2, 3]], stream="watch-1")]
    recorded(tmp_path, [both], Limits(streams=("watch-*", "ring")))
    assert [p.name for p in recordings_in(tmp_path.iterdir())] == ["watch-1.json"]


@pytest.mark.parametrize("stream", ["../../escaped", "a/b", "", "x" * 300, "\udc80\n"])
def test_a_streams_name_leads_nowhere_else(tmp_path, stream):
    recorded(tmp_path / "kept", [[batch([1], [[1, 2, 3]], stream=stream)]])
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    (path,) = recordings_in((tmp_path / "kept").iterdir())
    assert read(path)[0][0].stream == stream


def test_a_file_is_followed_by_another_and_they_are_read_as_one(tmp_path):
    given = some_messages(40)
    recorder = Recorder(tmp_path, Limits(part_bytes=1))
    for half in (given[:20], given[20:]):
        # A recorder that ends has written all: two of them stand for two turns of its clock.
        recorder = recorded(tmp_path, half, Limits(part_bytes=1))
    sessions = sorted(tmp_path.iterdir())
    assert len(sessions) == 2
    assert recorder.status()["state"] == "ended"
    first, second = (read(s / "phone-1.json") for s in sessions)
    assert [plain(m) for m in first + second] == [plain(m) for m in given]


def test_large_messages_fill_one_file_after_the_other(tmp_path):
    rng = np.random.default_rng(1)
    given = [
        [batch(np.arange(20_000) + i, rng.normal(0, 10, (20_000, 3)), message_id=i)]
        for i in range(6)
    ]
    recorder = recorded(tmp_path, given, Limits(part_bytes=100_000))
    (session,) = tmp_path.iterdir()
    parts = sorted(session.glob("*.csv.gz"))
    assert len(parts) == 6
    assert [plain(m) for m in read(session / "phone-1.json")] == [plain(m) for m in given]
    assert plain(read(parts[2])[0]) == plain(given[2])
    assert recorder.status()["bytes"] == sum(p.stat().st_size for p in parts)


def test_beyond_the_cap_the_oldest_files_of_all_sessions_go_and_are_counted(tmp_path):
    rng = np.random.default_rng(1)

    def a_session(cap):
        given = [
            [batch(np.arange(20_000), rng.normal(0, 10, (20_000, 3)), message_id=i)]
            for i in range(3)
        ]
        return recorded(tmp_path, given, Limits(part_bytes=1000, max_bytes=cap))

    (tmp_path / "holiday.csv.gz").write_bytes(b"not ours")
    written = a_session(10**9).status()["bytes"]
    (old,) = recordings_in(p for p in tmp_path.iterdir() if p.is_dir())
    later = a_session(round(written * 1.4))
    assert later.counts["removed_files"] == 2
    assert len(read(old)) == 1
    third = a_session(round(written * 1.1))
    assert third.counts["removed_files"] == 4
    assert len(recordings_in(p for p in tmp_path.iterdir() if p.is_dir())) == 1
    assert not old.parent.exists()
    left = sum(p.stat().st_size for p in tmp_path.rglob("*.*.csv.gz"))
    assert left <= written * 1.1
    assert (tmp_path / "holiday.csv.gz").exists()


def large_messages(n):
    """Return messages that fill a chunk each, so that they are written at once."""
    rng = np.random.default_rng(1)
    return [
        [batch(np.arange(20_000) + i, rng.normal(0, 10, (20_000, 3)), message_id=i)]
        for i in range(n)
    ]


def test_each_file_begins_with_what_was_remembered_by_then(tmp_path):
    given = large_messages(4)
    recorder = Recorder(tmp_path, Limits(part_bytes=1))
    recorder.start()
    for i, message in enumerate(given):
        recorder.take(message, {"phone-1": {"upright": i}} if i else {})
    assert recorder.close(10)
    (session,) = tmp_path.iterdir()
    alone = [read(part) for part in sorted(session.glob("*.csv.gz"))]
    assert [plain(m) for m in alone[0]] == [plain(given[0])]
    for i in (1, 2, 3):
        assert alone[i][0] == [Remembered("phone-1", {"upright": i})]
        assert [plain(m) for m in alone[i][1:]] == [plain(given[i])]
    assert [plain(m) for m in read(session / "phone-1.json")] == [plain(m) for m in given]


def test_a_label_too_long_is_cut_told_and_counted(tmp_path, caplog):
    labels = [[Annotation("phone-1", i, "é" * 1000)] for i in range(3)]
    recorder = recorded(tmp_path, [*some_messages(1), *labels])
    (path,) = recordings_in(tmp_path.iterdir())
    texts = [i.text for m in read(path) for i in m if isinstance(i, Annotation)]
    assert texts == ["é" * MAX_TEXT] * 3
    assert recorder.counts == {"cut_labels": 3}
    assert caplog.text.count("record.cut_labels") == 1


def test_a_label_waits_for_the_samples_of_its_stream_and_begins_no_file(tmp_path):
    early = Annotation("phone-1", 7, "early")
    labels = [[Annotation("nobody", n, "who?")] for n in range(MAX_HELD_LABELS)]
    samples = some_messages(2)
    recorder = recorded(tmp_path, [[early], *labels[1:], *samples, *labels[:1], [early]])
    (path,) = recordings_in(tmp_path.iterdir())
    given = [[early], *samples, [early]]
    assert [plain(m) for m in read(path)] == [plain(m) for m in given]
    assert recorder.counts == {"labels_without_samples": MAX_HELD_LABELS}


def test_labels_of_streams_that_never_come_are_bounded(tmp_path):
    labels = [[Annotation(f"nobody-{n}", n, "who?")] for n in range(MAX_HELD_LABELS + 5)]
    recorder = recorded(tmp_path, labels)
    assert list(tmp_path.iterdir()) == []
    assert recorder.counts == {"labels_without_samples": MAX_HELD_LABELS + 5}


def test_a_label_that_no_encoding_knows_ends_nothing(tmp_path):
    recorder = recorded(tmp_path, [*some_messages(1), [Annotation("phone-1", 1, "a\ud800b")]])
    assert recorder.status()["state"] == "ended"
    (path,) = recordings_in(tmp_path.iterdir())
    assert read(path)[-1] == [Annotation("phone-1", 1, "a?b")]


@pytest.mark.parametrize("what", ["all of it", "the session", "a file"])
def test_what_is_removed_while_it_is_written_is_begun_again(tmp_path, caplog, what):
    given = large_messages(6)
    folder = tmp_path / "kept"
    recorder = Recorder(folder, Limits())
    recorder.start()
    for i, message in enumerate(given):
        if i == 3:
            (session,) = folder.iterdir()
            if what == "a file":
                (session / "phone-1.0001.csv.gz").unlink()
            else:
                shutil.rmtree(folder if what == "all of it" else session)
        before = recorder.status()["bytes"]
        recorder.take(message, {"phone-1": {"upright": i}})
        until(lambda before=before: recorder.status()["bytes"] > before)
    assert recorder.close(10)
    (session,) = folder.iterdir()
    found = read(session / "phone-1.json")
    assert found[0] == [Remembered("phone-1", {"upright": 3})]
    assert [plain(m) for m in found[1:]] == [plain(m) for m in given[3:]]
    assert recorder.counts == {"removed_by_others": 1}
    assert caplog.text.count("begun again") == 1


FULL_DISK = """
import resource, sys, threading
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.test_recording import Limits, Recorder, large_messages, until
folder = Path({folder!r})
recorder = Recorder(folder, Limits(retry_s=0.5))
recorder.start()

def take(message, reached):
    recorder.take(message, {{"phone-1": {{"upright": 1}}}})
    until(lambda: reached(recorder))

def lost(n):
    return lambda r: r.counts["lost_messages"] == n

given = large_messages(8)
take(given[0], lambda r: r.status()["bytes"])
written = recorder.status()["bytes"]
hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard_limit))
for n in (1, 2, 3, 4):
    take(given[n], lost(n))
threading.Event().wait(0.6)
take(given[5], lost(5))
print(recorder.status()["state"], sorted(p.name for p in folder.glob("*/*")))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
threading.Event().wait(0.6)
take(given[6], lambda r: r.status()["bytes"] > written)
recorder.take(given[7])
assert recorder.close(10)
print(recorder.counts["lost_messages"], recorder.counts["write_errors"] > 1)
"""


def test_a_full_disk_leaves_no_empty_files_and_is_written_again_once_there_is_room(tmp_path):
    script = FULL_DISK.format(root=str(Path(__file__).parents[1]), folder=str(tmp_path / "kept"))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    while_full, counts = done.stdout.splitlines()
    assert while_full == "failing ['phone-1.0001.csv.gz', 'phone-1.json']"
    assert counts == "5 True"
    assert done.stderr.count("nothing is recorded until that is mended") == 1
    assert done.stderr.count("goes on, 5 messages were lost") == 1
    (session,) = (tmp_path / "kept").iterdir()
    assert [len(read(part)) for part in sorted(session.glob("*.csv.gz"))] == [2, 3]
    given = large_messages(8)
    assert [plain(m) for m in read(session / "phone-1.json")[1:]] == [
        plain(given[i]) for i in (0, 6, 7)
    ]


def test_what_the_disk_cannot_keep_up_with_is_dropped_and_counted(tmp_path):
    recorder = Recorder(tmp_path, Limits())
    big = [batch(np.zeros(600_000), np.zeros((600_000, 3)))]
    begin = time.monotonic()
    recorder.take(big)
    recorder.take(big)
    assert time.monotonic() - begin < 1
    assert recorder.counts == {"dropped_messages": 1}


def test_a_folder_that_cannot_be_written_is_told_and_counted_and_ends_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    recorder = recorded(tmp_path / "file" / "folder", some_messages(2))
    assert recorder.counts["write_errors"] >= 1
    assert "record.write_errors" in caplog.text


def test_a_file_cut_anywhere_gives_the_messages_before_the_cut(tmp_path):
    given = [plain(m) for m in some_messages(20)]
    for i in range(0, 20, 4):  # members as several flushes would write them
        recorded(tmp_path / str(i), some_messages(20)[i : i + 4])
    parts = [next((tmp_path / str(i)).glob("*/*.csv.gz")) for i in range(0, 20, 4)]
    texts = [gzip.decompress(p.read_bytes()).decode().split("\n", 2)[2] for p in parts[1:]]
    whole = parts[0].read_bytes() + b"".join(gzip.compress(t.encode()) for t in texts)
    target = parts[0]
    cuts = np.random.default_rng(4).integers(200, len(whole), 60).tolist()
    for cut in [*cuts, len(whole)]:
        target.write_bytes(whole[:cut])
        try:
            found = read(target.with_name("phone-1.json"))
        except UnusableInput:  # not one whole message
            found = []
        # The arrivals of each member begin at 1 here, so 4 and 1 meet only at a border.
        assert [plain(m) for m in found] == given[: len(found)]
        if cut == len(whole):
            assert len(found) == 20


@pytest.mark.parametrize(
    "row",
    [
        "sample,1,0,accel,7,,,1,1,2,3,",
        "sample,1,0,radar,0,,,1,1,2,3,",
        "sample,1,0,accel,0,,,99999999999999999999,1,2,3,",
        "sample,1,0,accel,0,,,x,1,2,3,",
        "sample,1,0",
        "declared,1,,,0,,,,,,,{}",
        "unheard-of,1,,,,,,,,,,",
        "remembered,1,,,,,,,,,,[]",
        "remembered,1,,,,,,,,,," + "[" * 20_000,
        "\ufffd",
    ],
)
def test_a_bad_row_is_skipped_and_counted(tmp_path, row):
    recorded(tmp_path, some_messages(3))
    (part,) = tmp_path.glob("*/*.csv.gz")
    with part.open("ab") as file:
        file.write(gzip.compress(f"{row}\n".encode()))
    reasons = []
    found = read(part.with_name("phone-1.json"), lambda reason, _: reasons.append(reason))
    assert len(found) == 3
    assert reasons == ["bad_row"]


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"format": "hard-recording", "version": 2}', "[" * 100_000]
)
def test_metadata_that_cannot_be_right_are_refused_by_name(tmp_path, body):
    recorded(tmp_path, some_messages(1))
    (path,) = recordings_in(tmp_path.iterdir())
    path.write_text(body, "utf-8")
    with pytest.raises(UnusableInput, match=r"phone-1\.json"):
        open_hard_recording(path, Options())


def test_rows_without_their_metadata_are_no_recording(tmp_path):
    recorded(tmp_path, some_messages(1))
    (path,) = recordings_in(tmp_path.iterdir())
    path.unlink()
    assert not is_hard_recording(path.with_name("phone-1.0001.csv.gz"))
    assert not is_hard_recording(path.parent)


# -- live = replay -------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.close()


def simulated(folder, options="", more=""):
    config = folder / "hard.toml"
    config.write_text(
        f"""
[hard]
state_dir = "{folder}/state"
[sources.sim]
plugin = "simulator"
{options}
[sinks.file]
plugin = "jsonl"
path = "{folder}/events.jsonl"
[record]
{more}
""",
        "utf-8",
    )
    return config


def sessions(folder):
    return sorted((folder / "state/recordings").glob("*"))


SCRIPT = """
script = ["standing:20", "walking:40", "sitting:30", "running:20"]
realtime = false
streams = 2
"""


def test_a_recording_of_the_daemon_replays_to_the_events_that_live_gave(tmp_path):
    config = simulated(tmp_path, SCRIPT)
    assert hard("run", "-c", config).returncode == 0
    live = events_of(tmp_path / "events.jsonl")
    expected = replayed(sessions(tmp_path)[0], "-c", str(config))
    assert {event["stream"] for event in live} == {"sim-1", "sim-2"}
    for stream in ("sim-1", "sim-2"):
        of_stream = [[e for e in events if e["stream"] == stream] for events in (live, expected)]
        assert len(of_stream[0]) > 8
        assert comparable(of_stream[0]) == comparable(of_stream[1])


def remembering(folder, stream, upright):
    """Leave what a daemon would have that has learned which way is up."""
    log = EventLog(folder / "events.db")
    log.append([], {stream: {"upright": upright.to_json()}})
    log.close()


def test_a_replay_knows_which_way_was_up_when_live_did(tmp_path, broker, simulator):
    sensors = a_walk(simulator, WALK)
    numbered = disordered(messages(sensors), 5)
    gravity = -(sensors["accelerometer"][1] + sensors["gravity"][1])[:500].mean(axis=0)
    upright = Reference(tuple(gravity.tolist()), 60, EPOCH_NS, "gait")
    remembering(tmp_path / "state", "phone-1", upright)
    phone = Phone(broker.port)
    with daemon(tmp_path, broker.port, '[record]\n[model]\nname = "pocket-upright"\n') as process:
        listening(tmp_path, phone)
        for number, part in numbered[:70]:
            phone.send(number, part)
        until(lambda: any(e["activity"] == "walking" for e in events_of(_events(tmp_path))))
        done = hard("calibrate", "--no-wait", "-c", tmp_path / "hard.toml", "phone-1")
        assert done.returncode == 0, done.stderr
        for number, part in numbered[70:]:
            phone.send(number, part)
        until(lambda: any(e["activity"] == "running" for e in events_of(_events(tmp_path))))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    phone.close()
    live = events_of(_events(tmp_path))
    assert next(e["activity"] for e in live if e["event_type"] == "enter") == "standing"
    (path,) = recordings_in(sessions(tmp_path))
    items = [item for message in read(path) for item in message]
    assert items[0] == Remembered("phone-1", {"upright": upright.to_json()})
    assert items.count(Calibrate("phone-1")) == 1
    assert comparable(replayed(path, "-c", str(tmp_path / "hard.toml"))) == comparable(live)


def test_a_replay_forgets_a_stream_where_live_evicted_it(tmp_path):
    walk = simulated_messages()
    others = [[replace(item, stream="other") for item in message] for message in walk[:3]]
    middle = len(walk) // 2
    model = TFLiteClassifier.load("pocket")
    recorder = Recorder(tmp_path, Limits())
    recorder.start()
    pipeline = Pipeline(
        lambda _: (model, DecisionSettings()),
        max_streams=1,
        evicting=lambda stream: recorder.take([Evicted(stream)]),
    )
    live = []
    for message in [*walk[:middle], *others, *walk[middle:]]:
        recorder.take(message)
        live += pipeline.feed(message)
    live += pipeline.finish("shutdown")
    assert recorder.close(10)
    assert [e.stream for e in live if e.reason == "evicted"] == ["sim-1", "other"]
    (session,) = tmp_path.iterdir()
    own = [event.payload() for event in live if event.stream == "sim-1"]
    assert comparable(replayed(session / "sim-1.json")) == comparable(own)


def test_a_stream_that_is_refused_leaves_the_others_of_its_session(tmp_path):
    walk = simulated_messages()
    wrong = [
        [replace(item, stream="wrong", values=item.values * np.float32(0.01)) for item in m]
        for m in walk
    ]
    recorded(tmp_path, [m for pair in zip(walk, wrong, strict=True) for m in pair])
    (session,) = tmp_path.iterdir()
    (session / "damaged.json").write_text("{}")
    shutil.copy(session / "wrong.0001.csv.gz", session / "damaged.0001.csv.gz")
    done = hard("replay", "--json", session)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    entered = {(e["stream"], e["activity"]) for e in events if e["event_type"] == "enter"}
    assert ("sim-1", "walking") in entered
    assert {stream for stream, _ in entered} == {"sim-1"}
    assert [e["status"] for e in events if e["stream"] == "wrong"] == ["rejected"]
    assert f"left out: {session}/wrong.json: " in done.stderr
    assert f"left out: {session}/damaged.json: " in done.stderr
    assert hard("replay", "--strict", session).returncode == 1
    alone = hard("replay", "--json", session / "wrong.json")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert f"{session}/wrong.json: " in alone.stderr


def simulated_messages():
    """Return what a simulated wearer sends, without labels."""
    table = {
        "plugin": "simulator",
        "script": ["standing:10", "walking:20"],
        "realtime": False,
    }
    found = []
    create("sources", "sim", table, "test").run(found.append, threading.Event())
    samples = ([i for i in message if isinstance(i, SampleBatch)] for message in found)
    return [message for message in samples if message]


def test_labels_of_the_recording_are_those_of_the_source(tmp_path):
    config = simulated(tmp_path, SCRIPT)
    assert hard("run", "-c", config).returncode == 0
    path = recordings_in(sessions(tmp_path))[0]
    labels = [i.text for m in read(path) for i in m if isinstance(i, Annotation)]
    assert labels == ["standing", "walking", "sitting", "running", ""]


def test_a_phone_that_falls_silent_replays_as_it_was_live(tmp_path, broker, simulator):
    sensors = a_walk(simulator, WALK)
    numbered = disordered(messages(sensors), 5)
    phone = Phone(broker.port)
    extra = "[record]\n[decision]\nno_data_after_s = 3.0\n"
    with daemon(tmp_path, broker.port, extra) as process:
        listening(tmp_path, phone)
        for number, part in numbered[:60]:
            phone.send(number, part)
        until(lambda: any(e.get("status") == "no_data" for e in events_of(_events(tmp_path))))
        done = hard("label", "-c", tmp_path / "hard.toml", "phone-1", "behind the bus stop")
        assert done.returncode == 0, done.stderr
        for number, part in numbered[60:]:
            phone.send(number, part)
        until(lambda: _silences(tmp_path) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    phone.close()
    live = events_of(_events(tmp_path))
    (path,) = recordings_in(sessions(tmp_path))
    items = [item for message in read(path) for item in message]
    assert items.count(Silence("phone-1")) == 2
    assert "behind the bus stop" in {i.text for i in items if isinstance(i, Annotation)}
    assert all(i.t_received_ns for i in items if isinstance(i, SampleBatch))
    assert all(i.declared.sign == -1 for i in items if getattr(i, "sensor", "gyro") != "gyro")
    assert comparable(replayed(path, "-c", str(tmp_path / "hard.toml"))) == comparable(live)


LABELS_BY_MQTT = """
[record]
[sources.labels]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
topics = ["nothing/here"]
label_topic = "hard/label/{{stream}}"
"""


def test_labels_by_mqtt_are_recorded_and_replayed_as_labels(tmp_path, broker, simulator):
    numbered = list(messages(a_walk(simulator, [("standing", 10), ("walking", 20)])))
    phone = Phone(broker.port)
    remote = broker.watch("nothing")
    folder = tmp_path / "hard.toml"
    with daemon(tmp_path, broker.port, LABELS_BY_MQTT.format(port=broker.port)) as process:
        listening(tmp_path, phone)
        for number, part in numbered:
            phone.send(number, part)

        def labelled():
            remote.publish("hard/label/phone-1", b"climbing stairs")
            remote.publish(
                "hard/label/phone-1", b'{"label": "tying a shoe", "t": 1750000005000000000}'
            )
            answer = hard("status", "-c", folder, "--json")
            names = [s["stream"] for s in json.loads(answer.stdout or "{}").get("streams", [])]
            return names == ["phone-1"]

        until(labelled)
        remote.publish("hard/label/phone-1", b"the last")
        until(lambda: not _busy(process))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    phone.close()
    (path,) = recordings_in(sessions(tmp_path))
    found = [i for m in read(path) for i in m if isinstance(i, Annotation)]
    assert {"climbing stairs", "tying a shoe", "the last"} == {i.text for i in found}
    assert {i.t for i in found if i.text == "tying a shoe"} == {1_750_000_005_000_000_000}
    assert replayed(path, "-c", str(folder))


def _events(folder):
    return folder / "events.jsonl"


def _silences(folder):
    return sum(event.get("status") == "no_data" for event in events_of(_events(folder)))


def test_a_killed_daemon_leaves_what_it_had_written(tmp_path):
    config = simulated(tmp_path, 'script = ["walking:3600"]\nrealtime = false')
    with Forked("run", "-c", config) as process:
        until(lambda: list((tmp_path / "state").glob("recordings/*/*.csv.gz")), 30)
        process.kill()
    (path,) = recordings_in(sessions(tmp_path))
    assert json.loads(path.read_text("utf-8"))["end"] is None
    done = hard("replay", "--json", path)
    assert done.returncode == 0, done.stderr
    assert "walking" in done.stdout


# -- hard record ---------------------------------------------------------------------------------


def test_record_writes_the_sources_and_asks_no_sink(tmp_path):
    config = simulated(tmp_path, SCRIPT)
    done = hard("record", "-c", config, "--out", tmp_path / "walks", "--stream", "sim-2")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "events.jsonl").exists()
    (session,) = (tmp_path / "walks").iterdir()
    assert str(session) in done.stderr
    assert [p.name for p in recordings_in([session])] == ["sim-2.json"]
    config.write_text(config.read_text("utf-8").replace("[record]", ""), "utf-8")
    run = hard("run", "-c", config)
    assert run.returncode == 0, run.stderr
    live = [e for e in events_of(tmp_path / "events.jsonl") if e["stream"] == "sim-2"]
    assert comparable(replayed(session, "-c", str(config))) == comparable(live)


def test_record_holds_what_the_daemon_remembers(tmp_path):
    config = simulated(tmp_path, SCRIPT)
    upright = Reference((0.1, 9.7, 1.0), 60, EPOCH_NS, "gait")
    remembering(tmp_path / "state", "sim-2", upright)
    assert hard("record", "-c", config).returncode == 0
    first = [read(path)[0][0] for path in recordings_in(sessions(tmp_path))]
    assert not isinstance(first[0], Remembered)
    assert first[1] == Remembered("sim-2", {"upright": upright.to_json()})


def test_record_stops_after_its_duration(tmp_path):
    config = simulated(tmp_path)
    begin = time.monotonic()
    done = hard("record", "-c", config, "--duration", 3)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 10
    (path,) = recordings_in(sessions(tmp_path))
    assert {"accel", "gyro"} == {i.sensor for m in read(path) for i in m if hasattr(i, "sensor")}
    assert json.loads(path.read_text("utf-8"))["end"] is not None


def test_lines_typed_on_a_terminal_become_labels(tmp_path):
    config = simulated(tmp_path)
    terminal, own = pty.openpty()
    pipes = {"stdin": own, "stderr": subprocess.PIPE, "text": True}
    with Forked("record", "-c", config, **pipes) as process:
        for line in process.stderr:
            if "type a label" in line:
                break
        said = ""
        while "labelled 1 stream" not in said:  # until the first second has arrived
            os.write(terminal, b"cycling\n")
            said = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(10) == 0
    os.close(terminal)
    os.close(own)
    (path,) = recordings_in(sessions(tmp_path))
    assert "cycling" in {i.text for m in read(path) for i in m if isinstance(i, Annotation)}


def test_record_of_nothing_says_so(tmp_path):
    config = simulated(tmp_path)
    done = hard("record", "-c", config, "--duration", 2, "--stream", "nobody")
    assert done.returncode == 1
    assert "nothing arrived" in done.stderr
    assert not Path(tmp_path / "state").exists()
