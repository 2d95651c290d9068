"""What `hard doctor` is told, stage by stage, by a real mosquitto."""

import json
import threading

import pytest

from tests.plugins.hard_mqtt.secured import listen_tls, sink_at, source_at

# What paho leaves open when a handshake fails is closed by its finalizer, which says so.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

T0 = 1_700_000_000_000_000_000


def entry(name):
    return {"name": name, "time": T0, "values": {"x": 0, "y": 0, "z": 9.8}}


def logger(*names):
    return json.dumps({"deviceId": "p1", "payload": [entry(name) for name in names]}).encode()


def probed(plugin, timeout_s=5.0):
    return list(plugin.probe(timeout_s))


def heard(broker, messages, timeout_s=5.0, **config):
    """Return the last stage of a probe during which `messages` are sent again and again."""
    watcher, done = broker.watch("nothing"), threading.Event()

    def send():
        while not done.wait(0.1):
            for topic, payload in messages:
                watcher.publish(topic, payload)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        stages = probed(source_at(broker.port, **config), timeout_s)
    finally:
        done.set()
        sender.join()
    assert [stage.name for stage in stages] == ["name", "tcp", "login", "subscribe", "message"]
    return stages[-1]


def test_a_quiet_broker_is_reached_and_nothing_is_heard(broker):
    stages = probed(source_at(broker.port), 1.0)
    assert [(s.name, s.ok) for s in stages] == [
        ("name", True),
        ("tcp", True),
        ("login", True),
        ("subscribe", True),
        ("message", None),
    ]
    assert "start the sender" in stages[-1].remedy
    assert "MQTT 5" in stages[2].detail


def test_a_retained_message_is_none_that_was_heard(broker):
    broker.watch("nothing").publish("sensor-logger", logger("gyroscope"), retain=True)
    assert probed(source_at(broker.port), 0.5)[-1].ok is None


def test_a_message_is_told_with_format_stream_and_sensors(broker):
    stage = heard(broker, [("sensor-logger", logger("totalacceleration", "gyroscope"))])
    assert stage.ok
    assert "sensor_logger on topic 'sensor-logger', stream 'p1': accel, gyro" in stage.detail
    assert stage.remedy == ""


def test_what_the_sender_should_switch_on_is_told(broker):
    stage = heard(broker, [("sensor-logger", logger("accelerometer"))])
    assert "Gravity" in stage.remedy
    assert "Gyroscope" in stage.remedy
    assert (
        "platform"
        not in heard(
            broker,
            [("sensor-logger", logger("gravity", "accelerometer", "gyroscope"))],
            platform="ios",
        ).remedy
    )
    stage = heard(broker, [("sensor-logger", logger("gravity", "accelerometer", "gyroscope"))])
    assert 'platform = "ios" or "android"' in stage.remedy


def test_sensors_that_come_in_messages_of_their_own_are_awaited(broker):
    events = [
        (
            "spot",
            json.dumps(
                {"type": f"android.sensor.{kind}", "timestamp": 1, "values": [0, 0, 1]}
            ).encode(),
        )
        for kind in ("gyroscope", "accelerometer")
    ]
    stage = heard(broker, events, topics=["spot"])
    assert "accel, gyro" in stage.detail
    assert stage.remedy == ""


def test_a_message_that_can_not_be_used_is_told_with_its_reason(broker):
    body = {"samples": [{"t": T0 // 10**9, "gyro": [1, 2, 3]}]}
    stage = heard(broker, [("sensor-logger", json.dumps(body).encode())], timeout_s=1.0)
    assert stage.ok is False
    assert 'time_unit = "s"' in stage.detail


def test_the_first_stage_that_fails_is_the_last_told(stopped_broker, tmp_path):
    for plugin in (source_at, sink_at):
        *_, stage = probed(plugin(1883, host="no such host"))
        assert (stage.name, stage.ok, stage.remedy) == ("name", False, "check host")
        *_, stage = probed(plugin(stopped_broker.port))
        assert (stage.name, stage.ok) == ("tcp", False)
        assert "is it running" in stage.remedy
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    stopped_broker.login("hard", "right")
    stopped_broker.start()
    for plugin in (source_at, sink_at):
        *_, stage = probed(plugin(stopped_broker.port, username="hard", password_file=str(secret)))
        assert (stage.name, stage.ok) == ("login", False)
        assert "user 'hard'" in stage.detail
        assert "password_file" in stage.remedy


def test_tls_is_a_stage_of_its_own(stopped_broker, certificates):
    port = listen_tls(stopped_broker, certificates)
    stopped_broker.start()
    ca, other = certificates.path("ca.pem"), certificates.path("other_ca.pem")
    stages = probed(sink_at(port, host="localhost", tls=True, ca_file=ca))
    assert [(s.name, s.ok) for s in stages] == [
        ("name", True),
        ("tcp", True),
        ("tls", True),
        ("login", True),
        ("publish", True),
    ]
    assert "valid until Jan  1 00:00:00 2040" in stages[2].detail
    *_, stage = probed(source_at(port, tls=True, ca_file=other))
    assert (stage.name, stage.ok) == ("tls", False)
    assert "ca_file" in stage.remedy
    *_, stage = probed(source_at(stopped_broker.port, tls=True, ca_file=ca))
    assert (stage.name, stage.ok) == ("tls", False)
    *_, stage = probed(source_at(port))
    assert (stage.name, stage.ok) == ("login", False)
    assert "tls = true" in stage.remedy


def test_a_probe_does_not_throw_out_an_instance_at_work(broker):
    sink = sink_at(broker.port)
    sink.open()
    assert probed(sink_at(broker.port))[-1].ok
    sink.check()
    sink.close()


def test_an_acl_that_denies_the_sink_its_topics_is_seen(stopped_broker, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o600)
    stopped_broker.login("hard", "right", "topic read hard/#")
    stopped_broker.start()
    login = {"username": "hard", "password_file": str(secret)}
    *_, stage = probed(sink_at(stopped_broker.port, **login))
    assert (stage.name, stage.ok) == ("publish", False)
    assert "ACL" in stage.remedy
    *_, stage = probed(sink_at(stopped_broker.port, protocol="3.1.1", **login))
    assert (stage.name, stage.ok) == ("publish", None)  # it would say that all is well
