"""The shipped `mosquitto.conf` and ACL with the real mosquitto: what each user may and may not."""

import queue
import re
import subprocess
import threading
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from hard.testing import sample_events, sample_state
from hard_mqtt import MqttSink, MqttSource
from tests.broker import Broker

ROOT = Path(__file__).parents[1]
USERS = ("hard", "homeassistant", "dashboard", "phone", "wrist-1")
PLAIN = b'{"samples": [{"t": 1700000000000000000, "accel": [0, 0, 9.81], "gyro": [0, 0, 0]}]}'


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """Give a broker with the shipped files, its paths and port put in place."""
    folder = tmp_path_factory.mktemp("mosquitto")
    broker = Broker(folder)
    text = (ROOT / "systemd/mosquitto.conf").read_text("utf-8")
    passwords, rights = folder / "hard.passwd", folder / "hard.acl"
    passwords.touch(mode=0o600)
    for user in USERS:
        subprocess.run(["mosquitto_passwd", "-b", passwords, user, f"{user}!"], check=True)
    rights.write_bytes((ROOT / "systemd/mosquitto.acl").read_bytes())
    rights.chmod(0o600)
    assert "listener 1883\n" in text
    text = text.replace("listener 1883", f"listener {broker.port} 127.0.0.1")
    text = text.replace("/etc/mosquitto/hard.passwd\nacl", f"{passwords}\nacl")
    text = text.replace("acl_file /etc/mosquitto/hard.acl", f"acl_file {rights}")
    broker.use([*text.splitlines(), "persistence true", f"persistence_location {folder}/"])
    broker.start()
    yield broker
    broker.close()


class User:
    """A client that is logged in, and is told what becomes of what it publishes."""

    def __init__(self, port, name, password=None):
        self._answers, self.messages = queue.SimpleQueue(), queue.SimpleQueue()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )  # fmt: skip
        if name:
            client.username_pw_set(name, password or f"{name}!")
        client.on_connect = lambda _c, _d, _f, reason, _p: self._answers.put(reason)
        client.on_publish = lambda _c, _d, _mid, reason, _p: self._answers.put(reason)
        client.on_subscribe = lambda _c, _d, _mid, reasons, _p: self._answers.put(reasons[0])
        client.on_disconnect = lambda *_: self._answers.put(None)
        client.on_message = lambda _c, _d, message: self.messages.put(message.topic)
        client.connect("127.0.0.1", port)
        client.loop_start()
        self.login = self._answers.get(timeout=10)

    def may_publish(self, topic, payload=b"x"):
        self._client.publish(topic, payload, qos=1)
        reason = self._answers.get(timeout=10)
        return reason is not None and not reason.is_failure

    def subscribe(self, topics):
        self._client.subscribe(topics, qos=1)
        self._answers.get(timeout=10)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()


@pytest.fixture
def user(broker):
    opened = []

    def log_in(name, **more):
        opened.append(User(broker.port, name, **more))
        return opened[-1]

    yield log_in
    for each in opened:
        each.close()


@pytest.mark.parametrize(
    ("name", "may", "may_not"),
    [
        (
            "hard",
            ["hard/pi/status", "hard/pi/a/event", "homeassistant/device/hard_pi/config"],
            ["sensor-logger", "homeassistant/status", "sensors/wrist-1/imu"],
        ),
        ("homeassistant", ["homeassistant/status"], ["hard/pi/status", "sensor-logger"]),
        ("dashboard", [], ["hard/pi/a/state", "homeassistant/status", "sensor-logger"]),
        ("phone", ["sensor-logger"], ["hard/pi/a/event", "sensors/wrist-1/imu"]),
        ("wrist-1", ["sensors/wrist-1/imu"], ["sensors/wrist-2/imu", "hard/pi/a/event"]),
    ],
)
def test_a_user_may_write_what_is_its_own_and_nothing_else(user, name, may, may_not):
    client = user(name)
    assert [topic for topic in may if not client.may_publish(topic)] == []
    assert [topic for topic in may_not if client.may_publish(topic)] == []


@pytest.mark.parametrize(
    ("name", "hears"),
    [
        ("homeassistant", {"hard/pi/x/event", "homeassistant/device/hard_x/config"}),
        ("dashboard", {"hard/pi/x/event"}),
        ("phone", set()),
        ("wrist-1", set()),
    ],
)
def test_a_user_hears_what_it_may_read_and_nothing_else(user, name, hears):
    listener, daemon, phone = user(name), user("hard"), user("phone")
    listener.subscribe("#")
    assert daemon.may_publish("hard/pi/x/event")
    assert daemon.may_publish("homeassistant/device/hard_x/config")
    assert phone.may_publish("sensor-logger")
    # What it hears of itself comes behind all that.
    own = {"homeassistant": "homeassistant/status"}.get(name)
    if own:
        assert listener.may_publish(own)
    else:
        listener.may_publish("end/of/it")
    heard = set()
    while heard < hears:
        heard.add(listener.messages.get(timeout=10))
    assert heard - {own} == hears


def test_strangers_and_wrong_passwords_are_turned_away(user):
    assert user(None).login.is_failure
    assert user("hard", password="wrong").login.is_failure


def test_a_message_that_is_too_large_ends_the_connection(user):
    assert user("phone").may_publish("sensor-logger", b"x" * 260_000)
    assert not user("phone").may_publish("sensor-logger", b"x" * 270_000)


def test_the_daemon_works_with_these_rights(broker, user, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hard!")
    secret.chmod(0o600)
    login = {"host": "127.0.0.1", "port": broker.port, "username": "hard"}
    login["password_file"] = str(secret)
    sink = MqttSink("home", MqttSink.Config(**login), node="pi")
    confirmed = []
    sink.open()
    sink.update(sample_state())
    sink.write(sample_events(3), confirmed.append)
    sink.drain(10)
    sink.check()
    sink.close()
    assert confirmed == [1, 2, 3]
    assert not sink.counts

    topics = ["sensor-logger", "sensors/{stream}/imu"]
    source = MqttSource("phone", MqttSource.Config(**login, topics=topics), node="pi")
    arrived, stop = queue.SimpleQueue(), threading.Event()
    thread = threading.Thread(target=source.run, args=(arrived.put, stop))
    thread.start()
    board = user("wrist-1")
    while arrived.empty():
        assert board.may_publish("sensors/wrist-1/imu", PLAIN)
        stop.wait(0.05)
    stop.set()
    thread.join()
    assert arrived.get()[0].stream == "wrist-1"


def test_the_shipped_file_keeps_what_was_acknowledged():
    text = (ROOT / "systemd/mosquitto.conf").read_text("utf-8")
    settings = dict(re.findall(r"^(\w+) (.+)$", text, re.MULTILINE))
    assert int(settings["autosave_interval"]) <= 30
    assert int(settings["max_queued_messages"]) >= 100_000
    assert int(settings["max_packet_size"]) >= MqttSource.Config().max_payload_bytes
