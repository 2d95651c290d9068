"""The control socket, by real sockets: the protocol, a daemon, and the commands that ask it."""

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hard.api import Command, Declared, PluginConfig, SampleBatch, Source
from hard.classifier import TFLiteClassifier
from hard.commanding import Commands
from hard.control import (
    IDLE_S,
    MAX_CLIENTS,
    MAX_REQUEST_BYTES,
    ControlError,
    NoDaemonError,
    ask,
    places,
    serving,
    socket_path,
)
from hard.decision import DecisionSettings
from hard.eventlog import EventLog
from hard.inbox import Refusal
from hard.pipeline import Pipeline
from hard.runtime import Runtime, RuntimeOptions
from hard_simulator.model import Bout, Motion, Wearer
from tests.broker import Broker
from tests.calling import HARD, Forked, hard
from tests.test_daemon import until


class Told:
    """A daemon that remembers what it was told."""

    def __init__(self):
        self.labels = []
        self.calibrated = []
        self.paused = []
        self.gate = threading.Event()  # a reload waits for it
        self.commands = Commands(self)
        self.commands.start()

    def status(self, most_streams):
        return {"streams": [], "most": most_streams}

    def label(self, stream, t_ns, text):
        if stream == "nobody":
            raise Refusal("unknown_stream", "nothing arrived on 'nobody'")
        self.labels.append((stream, t_ns, text))

    def calibrate(self, stream, timeout_s):
        assert timeout_s > 0
        self.calibrated.append(stream)

    def clear(self, stream, timeout_s):
        assert timeout_s > 0
        return {"home": stream == "phone-1"}

    def pause(self, stream, for_s, until_ns, timeout_s):
        assert timeout_s > 0
        ahead_s = None if for_s is None else round((until_ns - time.time_ns()) / 1e9)
        self.paused.append((stream, for_s, ahead_s))

    def resume(self, stream, timeout_s):
        assert timeout_s > 0
        raise Refusal("not_now", f"{stream} is not paused")

    def reload(self):
        assert self.gate.wait(10)
        return {"changed": ["sink home: restarted"], "needs_restart": []}


@pytest.fixture
def config(tmp_path):
    return tmp_path / "hard.toml"


@pytest.fixture
def served(tmp_path, config):
    told = Told()
    path = tmp_path / "control.sock"
    with serving(path, told, config, {"version": "7"}):
        yield path, told
    told.gate.set()
    told.commands.stop()


@contextlib.contextmanager
def connected(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        with sock.makefile("rb") as answers:
            yield sock, answers


def sent(path, data):
    with connected(path) as (sock, answers):
        sock.sendall(data)
        return json.loads(answers.readline())


# -- the protocol --------------------------------------------------------------------------------


def test_only_the_owner_may_connect(served):
    path, _ = served
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)


def test_a_connection_may_ask_again_and_again(served):
    path, told = served
    with connected(path) as (sock, answers):
        for n in range(3):
            body = {"command": "label", "stream": "phone-1", "text": f"walk {n}"}
            sock.sendall(json.dumps(body).encode() + b"\n")
            assert json.loads(answers.readline()) == {"ok": True}
        sock.sendall(b'{"command": "calibrate", "stream": "a"}\n{"command": "status"}\n')
        assert json.loads(answers.readline()) == {"ok": True}
        status = json.loads(answers.readline())
    assert (status["ok"], status["version"], status["pid"]) == (True, "7", os.getpid())
    assert [(s, text) for s, _, text in told.labels] == [("phone-1", f"walk {n}") for n in range(3)]
    assert abs(told.labels[0][1] - time.time_ns()) < 60e9
    assert told.calibrated == ["a"]


def test_a_status_waits_for_no_reload_and_the_reload_is_answered_once_it_is_done(served):
    path, told = served
    with connected(path) as (sock, answers):
        sock.sendall(b'{"command": "reload"}\n{"command": "status"}\n')
        assert sent(path, b'{"command": "status"}\n')["ok"]
        told.gate.set()
        assert json.loads(answers.readline()) == {
            "ok": True,
            "changed": ["sink home: restarted"],
            "needs_restart": [],
        }
        assert json.loads(answers.readline())["version"] == "7"


def test_a_pause_has_an_end_or_none(served):
    path, told = served
    assert sent(path, b'{"command": "pause", "stream": "a"}\n') == {"ok": True}
    assert sent(path, b'{"command": "pause", "stream": "a", "for_s": 90}\n') == {"ok": True}
    assert told.paused == [("a", None, None), ("a", 90.0, 90)]
    answer = sent(path, b'{"command": "resume", "stream": "a"}\n')
    assert (answer["ok"], answer["message"]) == (False, "a is not paused")


def test_what_a_source_asks_for_is_checked_as_strictly(served):
    _, told = served
    answers = queue.SimpleQueue()
    for name, arguments in (
        ("pause", {"stream": "a", "for_s": "90"}),
        ("pause", {"stream": "a", "for_s": -1}),
        ("pause", {"stream": "a", "config": None}),
        ("pause", {"stream": "a", "more": 1}),
        ("status", {}),
        ("label", {"stream": "", "text": "walk"}),
    ):
        told.commands.obey(Command(name, arguments, answers.put))
        assert answers.get(timeout=10)["error"] == "bad_request"
    told.commands.obey(Command("label", {"stream": "a", "text": "walk"}, answers.put))
    assert answers.get(timeout=10) == {"ok": True}
    assert [text for _, _, text in told.labels] == ["walk"]
    told.commands.stop()
    told.commands.obey(Command("calibrate", {"stream": "a"}, answers.put))
    assert answers.get(timeout=10)["error"] == "stopping"


@pytest.mark.parametrize(
    "line",
    [
        b"status",
        b'{"command": "pause", "stream": "a", "for_s": 0}',
        b'{"command": "reload", "stream": "a"}',
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"command": "reboot"}',
        b'{"command": "status", "verbose": true}',
        b'{"command": "label", "stream": 1, "text": "a"}',
        b'{"command": "label", "stream": "a"}',
        b'{"command": "label", "stream": "a", "text": NaN}',
        b'{"command": "label", "stream": "a", "text": "' + b"x" * 300 + b'"}',
        b"[" * 4000,
    ],
)
def test_what_is_no_request_is_answered_with_why_and_does_nothing(served, line):
    path, told = served
    answer = sent(path, line + b"\n")
    assert (answer["ok"], answer["error"]) == (False, "bad_request")
    assert answer["message"]
    assert told.labels == []
    assert sent(path, b'{"command": "status"}\n')["ok"]


def test_a_line_without_end_is_refused_and_the_connection_ended(served):
    path, _ = served
    with connected(path) as (sock, answers):
        sock.sendall(b"x" * (MAX_REQUEST_BYTES + 1))
        assert json.loads(answers.readline())["error"] == "too_long"
        assert answers.readline() == b""


def test_a_refusal_is_told_by_its_word_and_its_sentence(served, config):
    path, _ = served
    answer = sent(path, b'{"command": "label", "stream": "nobody", "text": ""}\n')
    assert (answer["error"], answer["message"]) == (
        "unknown_stream",
        "nothing arrived on 'nobody'",
    )
    with pytest.raises(ControlError, match="nothing arrived on 'nobody'"):
        ask([path], config, "label", {"stream": "nobody", "text": "a"})


def test_clients_that_say_nothing_or_half_a_line_hold_up_nobody(served):
    path, _ = served
    silent = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS - 1)]
    for n, sock in enumerate(silent):
        sock.connect(str(path))
        sock.send(b'{"comm'[:n])
    assert sent(path, b'{"command": "status"}\n')["ok"]
    for sock in silent:
        sock.close()
    assert sent(path, b'{"command": "status"}\n')["ok"]


def test_a_client_beyond_the_limit_is_told_so_and_finds_room_later(served, config):
    path, _ = served
    many = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS)]
    for sock in many:
        sock.connect(str(path))
    with connected(path) as (sock, answers):
        sock.sendall(b'{"command": "status"}\n' * 100)
        told = json.loads(answers.readline())
        assert answers.readline() == b""
    assert (told["ok"], told["error"]) == (False, "busy")
    with pytest.raises(ControlError, match="busy with 8 other clients: try again"):
        ask([path], config, "status")
    for sock in many:
        sock.close()

    def answers_again():
        with contextlib.suppress(ConnectionError), connected(path) as (sock, answers):
            sock.sendall(b'{"command": "status"}\n')
            return json.loads(answers.readline())["ok"]
        return False

    until(answers_again)


def test_a_client_that_trickles_loses_its_place(served):
    path, _ = served
    trickling = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS)]
    for sock in trickling:
        sock.connect(str(path))

    def finds_room():
        for sock in trickling:
            with contextlib.suppress(BrokenPipeError):
                sock.send(b"{")
        with contextlib.suppress(ConnectionError):
            return sent(path, b'{"command": "status"}\n')["ok"]
        return False

    assert not finds_room()
    until(finds_room, IDLE_S + 5)
    for sock in trickling:
        sock.close()


def test_a_client_that_reads_no_answers_holds_up_nobody_and_loses_its_place(served):
    path, _ = served
    deaf = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS - 1)]
    for sock in deaf:
        sock.connect(str(path))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(b'{"command": "status"}\n' * 100)
    begin = time.monotonic()
    assert sent(path, b'{"command": "status"}\n')["ok"]
    assert time.monotonic() - begin < 1
    for sock in deaf:
        sock.close()


def test_the_end_waits_for_no_client(tmp_path, config):
    path = tmp_path / "control.sock"
    flooding = [socket.socket(socket.AF_UNIX) for _ in range(7)]
    with serving(path, Told(), config, {}):
        for sock in flooding:
            sock.connect(str(path))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(b'{"command": "status"}\n' * 100)
        begin = time.monotonic()
    assert time.monotonic() - begin < 0.2
    for sock in flooding:
        sock.close()


def test_a_socket_that_was_removed_is_made_again(served, config, caplog):
    path, _ = served
    path.unlink()
    until(path.exists)
    assert ask([path], config, "status")["ok"]
    assert caplog.text.count("removed while it was in use") == 1


def test_a_daemon_with_another_configuration_is_not_taken_for_ours(served, tmp_path):
    path, told = served
    with pytest.raises(NoDaemonError, match=r"no daemon runs with .*other\.toml.*runs with"):
        ask([path], tmp_path / "other.toml", "label", {"stream": "a", "text": "b"})
    assert told.labels == []


def test_the_socket_goes_with_its_daemon_and_the_thread_too(tmp_path, config):
    path = tmp_path / "control.sock"
    with serving(path, Told(), config, {}):
        assert "control" in {thread.name for thread in threading.enumerate()}
    assert list(tmp_path.iterdir()) == []
    assert "control" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(NoDaemonError, match="start hard run"):
        ask([path], config, "status")


# -- the socket's file ---------------------------------------------------------------------------


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path, config):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with serving(path, Told(), config, {}):
        assert ask([path], config, "status")["ok"]


def test_the_socket_of_a_living_daemon_is_refused(served, config):
    path, _ = served
    with (
        pytest.raises(ControlError, match="another daemon listens there"),
        serving(path, Told(), config, {}),
    ):
        raise AssertionError("two daemons on one socket")
    assert ask([path], config, "status")["ok"]


def test_a_file_that_is_no_socket_is_left_alone(tmp_path, config):
    path = tmp_path / "control.sock"
    path.write_text("a diary", "utf-8")
    with pytest.raises(ControlError, match="no socket"), serving(path, Told(), config, {}):
        raise AssertionError("it was replaced")
    assert path.read_text("utf-8") == "a diary"


def test_a_path_too_long_for_a_socket_is_told(tmp_path, config):
    path = tmp_path / ("x" * 120) / "control.sock"
    path.parent.mkdir()
    with pytest.raises(ControlError, match="shorter"), serving(path, Told(), config, {}):
        raise AssertionError("it was made")


def test_it_is_in_the_runtime_directory_else_with_the_state_else_private(monkeypatch, tmp_path):
    config = tmp_path / "hard.toml"
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    private = socket_path(None, config)
    assert private.parent == tmp_path / "hard"
    assert private.parent.stat().st_mode & 0o777 == 0o700
    assert private != socket_path(None, tmp_path / "other.toml")
    assert socket_path(tmp_path, config) == tmp_path / "control.sock"
    assert places(tmp_path, config) == [tmp_path / "control.sock", Path("/run/hard/control.sock")]
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/hard:/run/other")
    assert socket_path(tmp_path, config) == Path("/run/hard/control.sock")


def test_a_folder_that_others_can_look_into_is_not_used(monkeypatch, tmp_path):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "hard").mkdir(mode=0o755)
    assert socket_path(None, tmp_path / "hard.toml") is None


def test_without_a_place_nothing_is_served(tmp_path):
    with serving(None, Told(), tmp_path, {}):
        assert "control" not in {thread.name for thread in threading.enumerate()}


# -- what reaches the pipeline -------------------------------------------------------------------


class Standing:
    """A pipeline that can calibrate "upright" and nothing else; it knows its thread."""

    def __init__(self):
        self.counts = Counter()
        self.threads = set()

    def memory(self, stream):
        del stream
        return {}

    def calibrate(self, stream):
        self.threads.add(threading.current_thread().name)
        if stream != "upright":
            raise ValueError(f"{stream} does not stand still")
        return []

    def feed(self, message):
        del message
        return []

    tick = finish = feed

    def state(self, stream):
        del stream

    def evicted(self):
        return []

    def memories(self):
        return {}

    def evidence(self, streams=None):
        del streams
        return {}


class Two(Source):
    """Sends one message on each of two streams, then waits."""

    def __init__(self):
        super().__init__("two", PluginConfig())

    def run(self, emit, stop):
        for stream in ("upright", "walking"):
            t, values = np.arange(50, dtype=np.int64), np.zeros((50, 3), np.float32)
            emit([SampleBatch(stream, "accel", t, values, Declared("m/s2"))])
        stop.wait()


@contextlib.contextmanager
def running(pipeline):
    runtime = Runtime(pipeline, {"two": Two()}, {}, EventLog(None), RuntimeOptions())
    thread = threading.Thread(target=runtime.run)
    thread.start()
    until(lambda: len(runtime.status(10)["streams"]) == 2)
    try:
        yield runtime
    finally:
        runtime.stop()
        thread.join(10)


def test_a_calibration_is_done_by_the_pipelines_thread_and_answered():
    pipeline = Standing()
    with running(pipeline) as runtime:
        runtime.calibrate("upright", 5.0)
        with pytest.raises(Refusal, match="does not stand still") as refused:
            runtime.calibrate("walking", 5.0)
        assert refused.value.reason == "not_now"
        with pytest.raises(Refusal, match=r"'elsewhere'; streams: .*upright"):
            runtime.calibrate("elsewhere", 5.0)
    assert pipeline.threads == {"pipeline"}
    with pytest.raises(Refusal, match="about to stop"):
        runtime.calibrate("upright", 5.0)


def test_the_status_names_each_stream_that_was_heard_the_latest_first():
    with running(Standing()) as runtime:
        status = runtime.status(1)
        assert [stream["stream"] for stream in status["streams"]] == ["walking"]
        (stream,) = status["streams"]
        assert stream["samples"] == {"accel": 50}
        assert 0 <= stream["age_s"] < 10
        assert json.dumps(status)


# -- the daemon and its commands -----------------------------------------------------------------


def configured(folder, more=""):
    path = folder / "hard.toml"
    path.write_text(
        f"""
[hard]
state_dir = "{folder}/state"
[sources.sim]
plugin = "simulator"
[sinks.file]
plugin = "jsonl"
path = "{folder}/events.jsonl"
{more}
""",
        "utf-8",
    )
    return path


@contextlib.contextmanager
def started(config):
    with Forked("run", "-c", config, stderr=subprocess.DEVNULL) as process:
        until((config.parent / "state/control.sock").exists)
        try:
            yield process
        finally:
            process.kill()


def stopped(process):
    process.send_signal(signal.SIGTERM)
    return process.wait(10)


def test_status_tells_streams_sources_sinks_and_models(tmp_path):
    config = configured(tmp_path)
    with started(config) as process:
        answer = {}

        def decided():
            answer.update(json.loads(hard("status", "-c", config, "--json").stdout))
            return answer["streams"] and answer["streams"][0]["activity"]

        until(decided)
        (stream,) = answer["streams"]
        assert stream["stream"] == "sim-1"
        assert (stream["status"], stream["activity"]) == ("ok", "standing")
        assert stream["rate_hz"]["accel"] == pytest.approx(50, abs=5)
        assert stream["samples"]["accel"] == stream["samples"]["gyro"] >= 150
        assert stream["age_s"] < 3
        works = {"state": "running", "why": None, "restarts": 0}
        assert answer["sources"] == [{"name": "sim", **works}]
        assert answer["sinks"] == [{"name": "file", **works, "backlog": 0}]
        assert answer["models"][0].startswith("pocket@")
        assert (answer["pid"], answer["record"]) == (process.pid, None)
        told = hard("status", "-c", config).stdout
        assert "stream sim-1: standing" in told
        assert "source sim: running" in told
        label = hard("label", "-c", config, "sim-1", "cycling")
        assert label.returncode == 1
        assert "add [record]" in label.stderr
        other = hard("label", "-c", config, "sim-7", "cycling")
        assert "nothing arrived on 'sim-7'; streams: 'sim-1'" in other.stderr
        assert stopped(process) == 0
    assert not (tmp_path / "state/control.sock").exists()


def test_calibrate_waits_and_says_that_it_worked(tmp_path):
    standing = '[model]\nname = "pocket-upright"\n'
    config = configured(tmp_path, standing)
    text = config.read_text("utf-8")
    wearer = 'plugin = "simulator"\nscript = ["standing:60"]\n'
    config.write_text(text.replace('plugin = "simulator"\n', wearer), "utf-8")
    with started(config) as process:
        until(lambda: _events(config) > 0)
        done = hard("calibrate", "-c", config, "sim-1")
        assert (done.returncode, done.stdout) == (0, "sim-1: learned which way is up\n")
        assert done.stderr == "sim-1: stand still and upright for 3 s, within a minute\n"
        asked = hard("calibrate", "-c", config, "--no-wait", "sim-1")
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", done.stderr)
        assert stopped(process) == 0


class Walks(Source):
    """Walks for a second, and once told for more than a minute."""

    def __init__(self):
        super().__init__("walks", PluginConfig())
        self.told = threading.Event()

    def run(self, emit, stop):
        wearer = Wearer.draw("pocket", np.random.default_rng(3))
        motion = Motion(wearer, [Bout("walking", 100.0)], 50.0, np.random.default_rng(3))
        for second in range(70):
            if second == 5:
                self.told.wait(10)
            t = 1_750_000_000 * 10**9 + (np.arange(50) + 50 * second) * 20_000_000
            units = {"accel": Declared("m/s2"), "gyro": Declared("rad/s")}
            both = zip(units.items(), motion.read(50), strict=True)
            emit([SampleBatch("walks", s, t, x.astype(np.float32), d) for (s, d), x in both])
        stop.wait()


def test_a_calibration_of_somebody_who_does_not_stand_still_fails():
    model, source = TFLiteClassifier.load("pocket-upright"), Walks()
    pipeline = Pipeline(lambda _: (model, DecisionSettings()))
    runtime = Runtime(pipeline, {"walks": source}, {}, EventLog(None), RuntimeOptions())
    thread = threading.Thread(target=runtime.run, daemon=True)
    thread.start()

    def calibration():
        return runtime.status(1)["streams"][0]["calibration"]

    until(lambda: getattr(pipeline.state("walks"), "status", None) == "ok")
    runtime.calibrate("walks", 5.0)
    assert calibration() == "waiting"
    source.told.set()
    until(lambda: calibration() == "failed")
    runtime.stop()
    thread.join(10)


class Calibrating(Told):
    """A daemon whose calibration came to an end by the first look."""

    def __init__(self, **stream):
        super().__init__()
        self.stream = {"stream": "a", "age_s": 0.1, **stream}

    def status(self, most_streams):
        del most_streams
        return {"streams": [self.stream]}


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ({"calibration": "failed"}, "no 3 s of standing still were seen"),
        ({"calibration": "waiting", "age_s": 60.0}, "nothing has come for 15 s"),
        ({"stream": "b"}, "forgotten"),
    ],
)
def test_calibrate_says_why_it_did_not_work(tmp_path, stream, why):
    config = configured(tmp_path)
    (tmp_path / "state").mkdir()
    with serving(tmp_path / "state/control.sock", Calibrating(**stream), config, {}):
        done = hard("calibrate", "-c", config, "a")
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr.splitlines()[1]


@pytest.mark.parametrize("command", [["status"], ["label", "a", "b"], ["calibrate", "a"]])
def test_without_a_daemon_the_commands_say_what_to_start(tmp_path, command):
    config = configured(tmp_path)
    done = hard(command[0], "-c", config, *command[1:])
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no daemon runs with {config}" in done.stderr
    assert f"start hard run -c {config}" in done.stderr


def test_after_kill_9_the_next_daemon_serves_in_the_dead_ones_place(tmp_path):
    config = configured(tmp_path)
    with started(config) as process:
        process.kill()
        process.wait()
    assert (tmp_path / "state/control.sock").exists()
    assert "no daemon runs" in hard("status", "-c", config).stderr
    with started(config) as process:
        until(lambda: hard("status", "-c", config).returncode == 0)
        assert stopped(process) == 0


def test_a_second_daemon_of_the_same_runtime_directory_is_refused(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "second").mkdir()
    first, second = configured(tmp_path), configured(tmp_path / "second")
    with started(first) as process:
        until(lambda: hard("status", "-c", first).returncode == 0)
        folder = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path / "state")}
        done = hard("run", "-c", second, env=folder)
        assert done.returncode == 1
        assert "another daemon listens there" in done.stderr
        assert hard("status", "-c", first).returncode == 0
        assert stopped(process) == 0


FROZEN = """
[hard]
state_dir = "{folder}/state"
shutdown_s = 2.0
[sources.sim]
plugin = "simulator"
[sinks.broker]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
"""


def test_sigterm_waits_neither_for_clients_nor_longer_than_its_deadline(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    config = tmp_path / "hard.toml"
    config.write_text(FROZEN.format(folder=tmp_path, port=broker.port), "utf-8")
    with started(config) as process, contextlib.closing(broker), contextlib.ExitStack() as open_:
        flooding = [open_.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(7)]
        until(lambda: _events(config) > 0)
        broker.freeze()
        for sock in flooding:
            sock.connect(str(tmp_path / "state/control.sock"))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(b'{"command": "status"}\n' * 100)
        begin = time.monotonic()
        assert stopped(process) == 0
        assert time.monotonic() - begin < 2.8
        broker.thaw()


def _events(config):
    return json.loads(hard("status", "-c", config, "--json").stdout)["events"]


def test_a_state_directory_removed_while_it_runs_is_told_and_made_again(tmp_path):
    config = configured(tmp_path)
    with started(config) as process:
        until(lambda: _events(config) > 0)
        shutil.rmtree(tmp_path / "state")
        until((tmp_path / "state/control.sock").exists)
        assert hard("status", "-c", config).returncode == 0
        assert stopped(process) == 0
    assert (tmp_path / "state/events.db").exists()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    kinds = [event["event_type"] for event in events]
    assert kinds.count("enter") == kinds.count("exit") > 0
    again = EventLog(tmp_path / "state/events.db")
    with contextlib.closing(again):
        assert [event.id for event in again.read(0, 1000)] == [event["id"] for event in events]


# -- an early stop -------------------------------------------------------------------------------


def catches_sigterm(pid):
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return caught >> (signal.SIGTERM - 1) & 1


@pytest.mark.native  # an emulator catches every signal itself
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.5, 0.8, 1.1])
def test_sigterm_while_it_starts_ends_it_cleanly(tmp_path, after_s):
    config = configured(tmp_path, "[record]")
    command = [*HARD, "run", "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: catches_sigterm(process.pid))  # once Python itself is up
        threading.Event().wait(after_s)
        assert stopped(process) == 0
        assert "Traceback" not in process.stderr.read()
    left = {path.name for path in (tmp_path / "state").glob("**/*")}
    assert left <= {"events.db", "events.db.lock", "recordings"}
