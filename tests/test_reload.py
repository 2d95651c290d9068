"""Another configuration, another model, a pause: asked of a running daemon, beside its streams."""

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from hard.card import ModelCard
from hard.control import ControlError, ask
from tests.broker import Broker
from tests.calling import Forked
from tests.test_daemon import (
    TOPIC,
    Phone,
    _busy,
    a_walk,
    as_export,
    comparable,
    events_of,
    messages,
    replayed,
    said,
    simulator,
    until,
)

__all__ = ["simulator"]

WALK = [("standing", 20), ("walking", 40), ("sitting", 30), ("walking", 30)]


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.close()


def source(port):
    return (
        f'[sources.phone]\nplugin = "mqtt"\nhost = "127.0.0.1"\nport = {port}\n'
        f'topics = ["{TOPIC}"]\nplatform = "ios"\n'
    )


def sink(name, **options):
    lines = [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    return "\n".join([f"[sinks.{name}]", *lines, ""])


class Daemon:
    """`hard run` in a session of its own, without a terminal, and its control socket."""

    def __init__(self, folder, *tables):
        self.folder, self.config = folder, folder / "hard.toml"
        self.configure(*tables)
        self.process = None

    def configure(self, *tables, node="test"):
        head = f'[hard]\nnode = "{node}"\nstate_dir = "{self.folder}/state"\n'
        self.config.write_text("\n".join([head, *tables]), "utf-8")

    @contextmanager
    def running(self, end=signal.SIGTERM):
        own = {"stdin": subprocess.DEVNULL, "start_new_session": True}
        with (self.folder / "log.txt").open("a+", encoding="utf-8") as log:
            self.process = Forked("run", "-c", self.config, stderr=log, **own)
            try:
                until(self.answers, 40)
                yield self
                self.process.send_signal(end)
                assert self.process.wait(20) == (0 if end == signal.SIGTERM else -end)
            finally:
                self.process.kill()
                self.process.wait()

    def ask(self, command, **arguments):
        return ask([self.folder / "state/control.sock"], self.config, command, arguments)

    def answers(self):
        with suppress(ControlError):
            return self.ask("status")["ok"]
        return False

    def reloaded(self):
        """Return the answer to a reload, the sentence where it is refused."""
        try:
            return self.ask("reload")
        except ControlError as error:
            return str(error)

    def stream(self, name="phone-1"):
        streams = self.ask("status")["streams"]
        return next((each for each in streams if each["stream"] == name), {"status": None})

    def hears(self, phone):
        """Wait until it hears the phone: it counts what it can't read, in each run anew."""

        def heard():
            phone.say("Tap to test")
            return self.refused("not_json")

        until(heard)

    def fed(self, phone):
        """Wait until all that the phone has sent is taken in, and worked off."""
        before = self.refused("unknown_shape")
        phone.say("[]")
        until(lambda: self.refused("unknown_shape") > before)
        until(lambda: not _busy(self.process))

    def refused(self, reason):
        return self.ask("status")["counts"].get(f"phone.{reason}", 0)


@pytest.mark.fast_fault("F22")
def test_a_reload_beside_a_stream_costs_no_sample_and_changes_no_event(
    tmp_path, broker, simulator, tell
):
    sensors = a_walk(simulator, WALK)
    expected = replayed(as_export(tmp_path / "phone-1", sensors))
    watcher = broker.watch("hard/test/phone-1/event")
    phone = Phone(broker.port)
    kept = sink("kept", plugin="jsonl", path=f"{tmp_path}/kept.jsonl")
    changing = sink("changing", plugin="jsonl", path=f"{tmp_path}/a.jsonl")
    changed = sink("changing", plugin="jsonl", path=f"{tmp_path}/b.jsonl")
    home = sink("home", plugin="mqtt", host="127.0.0.1", port=broker.port)
    daemon = Daemon(tmp_path, source(broker.port), kept, changing, home)
    steps = {
        30: lambda: daemon.configure(source(broker.port), kept, changed),
        60: lambda: daemon.configure(source(broker.port), kept, changed, "[sinks.bad]\nx = 1\n"),
        90: lambda: daemon.configure(source(broker.port), kept, changed, home),
    }
    answers = []
    with daemon.running():
        daemon.hears(phone)
        for number, part in messages(sensors):
            phone.send(number, part)
            if number in steps:
                steps[number]()
                answers.append(daemon.reloaded())
                last = daemon.ask("status")["reload"]
                assert last["ok"] == (number != 60)
                assert last.get("message") == (answers[1] if number == 60 else None)
        daemon.fed(phone)
        status = daemon.ask("status")
    phone.close()
    assert answers[0]["changed"] == ["sink home: removed", "sink changing: restarted"]
    assert "sinks.bad.plugin: missing" in answers[1]
    assert answers[2] == {"ok": True, "changed": ["sink home: added"], "needs_restart": []}
    assert not [name for name in status["counts"] if "drop" in name or "late" in name]
    live = events_of(tmp_path / "kept.jsonl")
    assert comparable(live) == comparable(expected)
    parts = events_of(tmp_path / "a.jsonl") + events_of(tmp_path / "b.jsonl")
    assert [e["seq"] for e in parts] == [e["seq"] for e in live]
    # The sink that went and came again goes on where it was.
    arrived = [json.loads(body)["seq"] for _, body, _ in watcher.all_seen()]
    assert arrived == [e["seq"] for e in live]
    tell(
        f"{len(expected)} events made, {len(arrived)} delivered, 0 of them again, 0 lost; 3 reloads"
    )


def copied(model, to, *, damage=None):
    """Put a bundled model where a configuration may name it, as another of that name."""
    card, path = ModelCard.load(model)
    data = bytearray(path.read_bytes())
    if damage is not None:
        damage(data)
    body = json.loads(path.with_suffix(".json").read_text("utf-8"))
    body |= {"name": to.stem, "sha256": hashlib.sha256(data).hexdigest()}
    to.write_bytes(data)
    to.with_suffix(".json").write_text(json.dumps(body), "utf-8")
    assert card.name == model


def zeroed(data):
    data[len(data) // 3 : 2 * len(data) // 3] = bytes(len(data) // 3)


@pytest.mark.fast_fault("F21")
def test_a_bad_model_is_refused_and_a_good_one_takes_over(tmp_path, broker, simulator, tell):
    model = tmp_path / "models/own.tflite"
    model.parent.mkdir()
    copied("pocket", model)
    sensors = a_walk(simulator, WALK)
    kept = sink("kept", plugin="jsonl", path=f"{tmp_path}/kept.jsonl")
    # The phone is silent while a model is tried, which a busy machine takes its time for.
    named = f'[model]\nname = "{model}"\n\n[decision]\nno_data_after_s = 120\n'
    daemon = Daemon(tmp_path, named, source(broker.port), kept)
    phone = Phone(broker.port)
    with daemon.running():
        before = daemon.ask("status")["models"]
        daemon.hears(phone)
        for number, part in messages(sensors):
            phone.send(number, part)
            if number == 40:
                copied("pocket", model, damage=zeroed)
                with pytest.raises(ControlError, match=r"own\.tflite"):
                    daemon.ask("reload")
                status = daemon.ask("status")
                assert status["reload"]["error"] == "model_rejected"
                assert status["models"] == before
            if number == 70:
                daemon.fed(phone)
                copied("waist", model)
                answer = daemon.ask("reload")
        after = daemon.ask("status")
        daemon.fed(phone)
    phone.close()
    assert after["models"] != before
    assert answer["changed"] == [f"stream phone-1: begins anew with {after['models'][0]}"]
    assert after["reload"]["ok"]
    events = events_of(tmp_path / "kept.jsonl")
    models = list(dict.fromkeys(event["model"] for event in events))
    assert models == [*before, *after["models"]]
    swap = next(i for i, event in enumerate(events) if event["model"] == models[1])
    exit_, status = events[swap - 1], events[swap]
    assert (exit_["event_type"], exit_["reason"]) == ("exit", "changed")
    assert (status["previous"], status["status"]) == ("ok", "checking")
    assert said(tmp_path, "reload refused (model_rejected)")
    tell(f"{len(events)} events made, a damaged model refused meanwhile, a good one taken")


def test_a_pause_holds_over_a_restart_and_in_the_recordings_replay(tmp_path, broker, simulator):
    sensors = a_walk(simulator, WALK)
    kept_events = tmp_path / "kept.jsonl"
    kept = sink("kept", plugin="jsonl", path=str(kept_events))
    remote = (
        f'[sources.remote]\nplugin = "mqtt_commands"\nhost = "127.0.0.1"\nport = {broker.port}\n'
        'commands = ["resume"]\n'
    )
    daemon = Daemon(tmp_path, source(broker.port), remote, kept, "[record]\n")
    phone, watcher = Phone(broker.port), broker.watch("hard/test/cmd/+/reply")
    parts = list(messages(sensors))
    with daemon.running(end=signal.SIGKILL):
        daemon.hears(phone)
        for number, part in parts[:40]:
            phone.send(number, part)
        until(lambda: daemon.stream()["status"] == "ok")
        daemon.fed(phone)
        with pytest.raises(ControlError, match="nothing arrived on 'phone-9'"):
            daemon.ask("pause", stream="phone-9")
        daemon.ask("pause", stream="phone-1", for_s=3600.0)
        for number, part in parts[40:50]:
            phone.send(number, part)
        until(lambda: daemon.stream()["status"] == "paused")
        assert 3400 < daemon.stream()["resumes_in_s"] <= 3600
        until(lambda: [e.get("status") for e in events_of(kept_events)][-1:] == ["paused"])
    first = events_of(kept_events)
    assert [first[-2]["reason"], first[-1]["status"]] == ["paused", "paused"]
    with daemon.running():
        daemon.hears(phone)
        for number, part in parts[50:70]:
            phone.send(number, part)
        until(lambda: daemon.stream()["status"] == "paused")
        daemon.fed(phone)
        assert 3300 < daemon.stream()["resumes_in_s"] < 3600
        assert daemon.ask("status")["counts"]["pipeline.paused"] > 1000
        replies = []

        def resumed():
            # Nobody knows when it is subscribed; what comes twice by its id is done once.
            watcher.publish("hard/test/cmd/resume", b'{"stream": "phone-1", "id": 1}')
            replies.extend(watcher.all_seen())
            return replies

        until(resumed)
        assert json.loads(replies[0][1]) == {"command": "resume", "id": 1, "ok": True}
        for number, part in parts[70:]:
            phone.send(number, part)
        daemon.fed(phone)
    phone.close()
    # Of the first run's events some come twice: nobody could confirm them.
    second = [event for event in events_of(kept_events) if event["seq"] > first[-1]["seq"]]
    assert [event["status"] for event in second[:3]] == ["paused", "checking", "ok"]
    assert any(event["event_type"] == "enter" for event in second)
    session = max((tmp_path / "state/recordings").iterdir())
    assert comparable(replayed(session / "phone-1.json")) == comparable(second)


@contextmanager
def on_a_terminal(config):
    """Run the daemon as somebody at a terminal does; yield it and the terminal."""
    terminal, inner = pty.openpty()

    command = ["setsid", "--ctty", sys.executable, "-m", "hard", "run", "-c", str(config)]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    try:
        yield process, terminal
    finally:
        process.kill()
        process.wait()


@pytest.mark.fast_fault("F22")
def test_a_hangup_stops_the_daemon_of_a_terminal_and_makes_any_other_read_its_configuration(
    tmp_path,
):
    simulated = '[sources.sim]\nplugin = "simulator"\n'
    kept = sink("kept", plugin="jsonl", path=f"{tmp_path}/kept.jsonl")
    daemon = Daemon(tmp_path, simulated, kept)
    with daemon.running():
        until(lambda: daemon.stream("sim-1")["status"])
        daemon.configure(simulated, f"{kept}\n[record]\n", node="other")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: said(tmp_path, "hard.node: needs a restart, the old value holds"))
        until(lambda: said(tmp_path, "record: is not on until a restart"))
        assert daemon.ask("status")["node"] == "test"
    shutil.rmtree(tmp_path / "state")
    with on_a_terminal(daemon.config) as (process, terminal):
        until((tmp_path / "state/control.sock").exists, 40)
        os.close(terminal)  # the kernel sends it
        assert process.wait(20) == 0
