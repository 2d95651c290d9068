"""`MqttCommands` against a real mosquitto; a function stands for the daemon that is asked."""

import contextlib
import json
import queue
from contextlib import contextmanager

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from hard.api import SourceUnavailable
from hard.testing import check_source
from hard_mqtt import MqttCommands
from tests.running import Running


def source_of(broker, commands=("pause", "reload"), **config):
    settings = MqttCommands.Config(
        host="127.0.0.1", port=broker.port, commands=list(commands), **config
    )
    return MqttCommands("remote", settings, "house")


@pytest.fixture
def watcher(broker):
    return broker.watch("+/house/cmd/+/reply")


class Asked:
    """The daemon: it remembers what it is asked, and answers from another thread if told to."""

    def __init__(self):
        self.commands = []

    def __call__(self, command):
        self.commands.append((command.name, dict(command.arguments)))
        if command.arguments.get("stream") == "nobody":
            sentence = "nothing arrived on 'nobody'"
            command.answer({"ok": False, "error": "unknown_stream", "message": sentence})
        else:
            command.answer({"ok": True})


@contextmanager
def running(source, watcher):
    """Run a source that has certainly subscribed: it answered."""
    source.ask = Asked()
    run = Running(source)
    topic = f"hard/house/cmd/{source.config.commands[0]}"
    try:
        heard, n = False, 0
        while not heard:
            n += 1
            watcher.publish(topic, json.dumps({"id": n}).encode())
            with contextlib.suppress(queue.Empty):
                heard = bool(watcher.next(0.1))
        watcher.publish(topic, b'{"id": "begun"}')
        while b"begun" not in watcher.next()[1]:
            pass
        source.ask.commands.clear()
        yield source.ask
    finally:
        run.stop()


def answered(watcher, topic, payload, **options):
    """Publish, and return topic and body of the answer."""
    watcher.publish(topic, payload, **options)
    topic, body, _ = watcher.next()
    return topic, json.loads(body)


def test_it_keeps_the_contract(broker, watcher):
    check_source(
        lambda: source_of(broker),
        provoke=lambda: watcher.publish("hard/house/cmd/pause", b"{}"),
    )


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_each_command_is_asked_and_answered_on_its_reply_topic(broker, watcher, protocol):
    with running(source_of(broker, protocol=protocol), watcher) as asked:
        body = {"stream": "phone-1", "for_s": 60, "id": "a1"}
        topic, answer = answered(watcher, "hard/house/cmd/pause", json.dumps(body).encode())
        assert topic == "hard/house/cmd/pause/reply"
        assert answer == {"command": "pause", "id": "a1", "ok": True}
        assert answered(watcher, "hard/house/cmd/reload", b"")[1] == {
            "command": "reload",
            "ok": True,
        }
        _, refusal = answered(watcher, "hard/house/cmd/pause", b'{"stream": "nobody"}')
        assert (refusal["ok"], refusal["error"]) == (False, "unknown_stream")
        assert asked.commands == [
            ("pause", {"stream": "phone-1", "for_s": 60}),
            ("reload", {}),
            ("pause", {"stream": "nobody"}),
        ]


def test_what_is_not_allowed_is_not_even_heard(broker, watcher):
    with running(source_of(broker, ["pause"]), watcher) as asked:
        watcher.publish("hard/house/cmd/reload", b"{}")
        watcher.publish("hard/other/cmd/pause", b"{}")
        answered(watcher, "hard/house/cmd/pause", b"{}")
        assert asked.commands == [("pause", {})]


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"pause", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not JSON"),
        (b'{"for_s": NaN}', "NaN is no number"),
        (b"[" * 4000, "not JSON"),
        (b'{"id": true}', "id"),
        (b'{"id": ""}', "id"),
        (b'{"stream": "' + b"x" * 5000 + b'"}', None),
    ],
)
def test_what_is_no_command_is_refused_with_the_reason_and_never_asked(
    broker, watcher, payload, why
):
    with running(source_of(broker, protocol="3.1.1"), watcher) as asked:
        _, answer = answered(watcher, "hard/house/cmd/pause", payload)
        assert (answer["ok"], answer["error"]) == (False, "bad_request")
        assert (why or "more than 4096 bytes") in answer["message"]
        assert asked.commands == []


def test_with_mqtt_5_the_answer_goes_where_its_sender_wants_it(broker, watcher):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers/me"
    properties.CorrelationData = b"77"
    mine = broker.watch("answers/#")
    with running(source_of(broker, reply_prefix="answers"), watcher):
        topic, answer = answered(mine, "hard/house/cmd/reload", b"{}", properties=properties)
        assert (topic, answer["ok"]) == ("answers/me", True)
        assert mine.correlation == b"77"


def test_an_answer_below_the_reply_topic_needs_no_permission(broker, watcher):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "hard/house/cmd/reload/reply/me"
    mine = broker.watch("hard/house/cmd/reload/reply/me")
    with running(source_of(broker), watcher):
        topic, answer = answered(mine, "hard/house/cmd/reload", b"{}", properties=properties)
        assert (topic, answer["ok"]) == ("hard/house/cmd/reload/reply/me", True)


@pytest.mark.parametrize(
    "topic",
    [
        "hard/house/phone-1/state",
        "hard/house/cmd/reload",
        "hard/house/cmd/pause/reply",
        "hard/house/cmd/reload/replying",
        "answers",
        "answersx/me",
        "homeassistant/device/x/config",
        "x" * 300,
    ],
)
def test_nobody_makes_the_daemon_write_where_it_should_not(broker, watcher, topic):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic, properties.CorrelationData = topic, b"78"
    source = source_of(broker, reply_prefix="answers/mine")
    with running(source, watcher) as asked:
        payload = b'{"stream": "a", "id": 5}'
        where, answer = answered(watcher, "hard/house/cmd/reload", payload, properties=properties)
        assert where == "hard/house/cmd/reload/reply"
        assert watcher.correlation == b"78"
        assert (answer["ok"], answer["error"], answer["id"]) == (False, "bad_request", 5)
        assert "or answers/mine" in answer["message"]
        assert len(answer["message"]) < 500
        assert asked.commands == []


def test_a_long_command_is_logged_in_short(broker, watcher, caplog):
    caplog.set_level("INFO")
    with running(source_of(broker), watcher):
        answered(watcher, "hard/house/cmd/pause", b'{"stream": "%s"}' % (b"x" * 3000))
    (line,) = [r.getMessage() for r in caplog.records if "xxx" in r.getMessage()]
    assert len(line) < 250


def test_a_retained_command_does_nothing_however_often_it_is_seen(broker, watcher):
    watcher.publish("hard/house/cmd/reload", b"{}", retain=True)
    source = source_of(broker)
    with running(source, watcher) as asked:
        answered(watcher, "hard/house/cmd/pause", b"{}")
        assert asked.commands == [("pause", {})]
    assert source.counts["retained"] == 1


def test_a_command_that_comes_twice_with_its_id_is_done_and_answered_once(broker, watcher):
    source = source_of(broker)
    with running(source, watcher) as asked:
        for _ in range(3):
            watcher.publish("hard/house/cmd/pause", b'{"stream": "a", "id": 7}')
        assert json.loads(watcher.next()[1])["command"] == "pause"
        answered(watcher, "hard/house/cmd/reload", b'{"id": 7}')  # another command
        names = [name for name, _ in asked.commands]
        assert names == ["pause", "reload"]
    assert source.counts["duplicate"] == 2


def test_more_than_so_many_a_minute_are_refused(broker, watcher):
    source = source_of(broker, max_per_minute=100)
    with running(source, watcher) as asked:
        for _ in range(100):
            _, answer = answered(watcher, "hard/house/cmd/reload", b"{}")
        _, last = answered(watcher, "hard/house/cmd/reload", b'{"id": "over"}')
        assert (last["ok"], last["id"]) == (False, "over")
        assert (answer["ok"], "100 commands a minute" in answer["message"]) == (False, True)
        assert len(asked.commands) < 100


def test_where_no_daemon_runs_everything_is_refused(broker, watcher):
    source = source_of(broker)
    refusing = source.ask
    with running(source, watcher):
        source.ask = refusing
        _, answer = answered(watcher, "hard/house/cmd/reload", b"{}")
        assert (answer["ok"], answer["error"]) == (False, "unsupported")


def test_a_broker_that_is_away_is_told(stopped_broker):
    run = Running(source_of(stopped_broker))
    assert "no MQTT broker at 127.0.0.1" in run.ended()
    assert isinstance(run.failure, SourceUnavailable)


@pytest.mark.parametrize("commands", [[], ["reboot"], ["pause", "pause"], None])
def test_the_allowed_commands_must_be_named_once_each(commands):
    with pytest.raises(ValidationError, match="commands"):
        MqttCommands.Config(**({} if commands is None else {"commands": commands}))
