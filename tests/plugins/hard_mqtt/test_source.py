"""`MqttSource` against a real mosquitto."""

import json
import queue
import threading
import time
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from hard.api import Annotation, SourceUnavailable
from hard.testing import check_source
from hard_mqtt import MqttSource
from tests.plugins.hard_mqtt.old_broker import old_broker
from tests.running import Running

T0 = 1_700_000_000_000_000_001


def source_of(broker, **config):
    return MqttSource("phone", MqttSource.Config(host="127.0.0.1", port=broker.port, **config))


def gyro(stream="wrist-1", t=T0):
    return json.dumps({"stream": stream, "samples": [{"t": t, "gyro": [1, 2, 3]}]}).encode()


@contextmanager
def running(source, watcher, topic="sensor-logger"):
    """Run a source that has certainly subscribed: what it got shows it."""
    run = Running(source)
    try:
        while True:
            watcher.publish(topic, gyro("hello"))
            try:
                run.next(0.05)
            except queue.Empty:
                continue
            break
        watcher.publish(topic, gyro("hello", T0 + 1))
        while run.next()[0].t[0] != T0 + 1:
            pass
        yield run
    finally:
        run.stop()


@pytest.fixture
def watcher(broker):
    return broker.watch("hard/#")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_it_keeps_the_contract(broker, watcher, protocol):
    check_source(
        lambda: source_of(broker, protocol=protocol),
        provoke=lambda: watcher.publish("sensor-logger", gyro()),
    )


def test_each_message_is_emitted_as_one(broker, watcher):
    payload = [
        {"name": name, "time": T0 + i, "values": {"x": 0, "y": 1, "z": 2}}
        for i in range(100)
        for name in ("accelerometer", "gravity", "gyroscope")
    ]
    body = {"messageId": 1, "sessionId": "s", "deviceId": "phone-1", "payload": payload}
    with running(source_of(broker, platform="ios"), watcher) as run:
        watcher.publish("sensor-logger", json.dumps(body).encode())
        message = run.next()
    assert [batch.sensor for batch in message] == ["linear_accel", "gravity", "gyro"]
    assert [len(batch) for batch in message] == [100, 100, 100]
    assert message[0].t_received_ns > T0


def test_the_stream_in_the_topic_binds_the_payload(broker, watcher):
    source = source_of(broker, topics=["sensors/{stream}/imu"])
    with running(source, watcher, "sensors/hello/imu") as run:
        watcher.publish("sensors/wrist-1/imu", gyro("wrist-2"))
        watcher.publish("sensors/wrist-1/imu", gyro("wrist-1"))
        (batch,) = run.next()
    assert batch.stream == "wrist-1"
    assert source.counts == {"other_stream": 1}


def logged(device, n, message_id):
    payload = [
        {"name": "totalacceleration", "time": T0 + i, "values": {"x": 0, "y": 0, "z": 9.8}}
        for i in range(n)
    ]
    body = {"messageId": message_id, "sessionId": "s", "deviceId": device, "payload": payload}
    return json.dumps(body).encode()


def test_two_phones_under_one_name_become_two_streams_and_both_are_named(broker, watcher, caplog):
    source = source_of(broker, topics=["sensors/{stream}"])
    with running(source, watcher, "sensors/hello") as run:
        for i in range(3):
            watcher.publish("sensors/wrist-1", logged("phone-a", 10, i))
            watcher.publish("sensors/wrist-1", logged("phone-b", 20, i))
        got = [(batch.stream, len(batch)) for _ in range(6) for batch in run.next()]
    (own,) = {stream for stream, _ in got} - {"wrist-1"}
    assert got == [("wrist-1", 10), (own, 20)] * 3
    assert own.startswith("wrist-1-")
    assert source.counts == {"second_device": 3}
    (said,) = caplog.messages
    assert "'phone-a' and 'phone-b' both send as stream 'wrist-1'" in said
    assert own in said


def test_a_label_by_its_topic_becomes_an_annotation(broker, watcher):
    source = source_of(broker, label_topic="hard/label/{stream}")
    with running(source, watcher) as run:
        before_ns = time.time_ns()
        watcher.publish("hard/label/left wrist", "Stühle rücken".encode())
        watcher.publish("hard/label/wrist-1", b'{"label": "stairs", "t": %d}' % T0)
        watcher.publish("hard/label/wrist-1", b"")
        (now,), (then,), (end,) = run.next(), run.next(), run.next()
        after_ns = time.time_ns()
    assert now.stream.startswith("left_wrist_")
    assert now.text == "Stühle rücken"
    assert before_ns <= now.t <= after_ns
    assert then == Annotation("wrist-1", T0, "stairs")
    assert (end.stream, end.text) == ("wrist-1", "")
    assert not source.counts


def test_a_label_that_is_none_is_left_out_by_name(broker, watcher):
    watcher.publish("hard/label/wrist-1", b"of yesterday", retain=True)
    source = source_of(
        broker, label_topic="hard/label/{stream}", allow=["hello", "wrist-*"], topics=["#"]
    )
    with running(source, watcher) as run:
        for stream, payload in (
            ("wrist-1", b"x" * 300),
            ("wrist-1", b"\xff"),
            ("wrist-1", b'{"label": "a", "t": 5}'),
            ("", b"nobody's"),
            ("ankle", b"not allowed"),
        ):
            watcher.publish(f"hard/label/{stream}", payload)
        watcher.publish("hard/label/wrist-1", b"end")
        assert run.next()[0].text == "end"
    assert source.counts == {"retained": 1, "bad_label": 3, "bad_time": 1, "not_allowed": 1}


def test_without_label_topic_nothing_is_a_label(broker, watcher):
    source = source_of(broker, topics=["sensor-logger", "hard/label/+"])
    with running(source, watcher) as run:
        watcher.publish("hard/label/wrist-1", b"stairs")
        watcher.publish("sensor-logger", gyro())
        assert run.next()[0].stream == "wrist-1"
    assert source.counts == {"not_json": 1}


def test_a_flood_of_malformed_messages_does_not_disturb_a_valid_stream(broker, watcher):
    source = source_of(broker, max_payload_bytes=1024)
    flood = [b"", b"{", b"[" * 900, b"\xff", b"[]", b'{"test": 1}', b'{"payload": [{}]}'] * 100
    with running(source, watcher) as run:
        for i, body in enumerate(flood):
            watcher.publish("sensor-logger", body, qos=0)
            if i % 70 == 69:
                watcher.publish("sensor-logger", gyro(t=T0 + i), qos=0)
        assert [run.next()[0].t[0] - T0 for _ in range(10)] == list(range(69, 700, 70))
    assert source.counts == {"not_json": 400, "unknown_shape": 300}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_message_over_the_limit_is_left_out(broker, watcher, protocol):
    source = source_of(broker, max_payload_bytes=1024, protocol=protocol)
    with running(source, watcher) as run:
        watcher.publish("sensor-logger", gyro() + b" " * 1_000_000)
        for n_bytes in (1024, 3072):
            watcher.publish("sensor-logger", gyro() + b" " * n_bytes)
        watcher.publish("sensor-logger", gyro(t=T0 + 2))
        assert run.next()[0].t[0] == T0 + 2
    # Under MQTT 5 the broker keeps the largest one away, which nobody should hold in memory.
    assert source.counts["too_large"] == (2 if protocol == "5" else 3)


def test_a_retained_message_is_old_and_left_out(broker, watcher):
    watcher.publish("sensor-logger", gyro("old"), retain=True)
    source = source_of(broker)
    with running(source, watcher) as run:
        assert run.nothing_more()
    assert source.counts == {"retained": 1}


def test_streams_are_limited_to_those_allowed_and_in_number(broker, watcher):
    source = source_of(broker, allow=["hello", "wrist-*"], max_streams=2)
    with running(source, watcher) as run:
        for stream in ("phone-1", "wrist-1", "wrist-2", "wrist-1"):
            watcher.publish("sensor-logger", gyro(stream))
        assert [run.next()[0].stream for _ in range(2)] == ["wrist-1", "wrist-1"]
    assert source.counts == {"not_allowed": 1, "too_many_streams": 1}


def test_streams_known_from_before_come_in_though_strangers_have_all_places(broker, watcher):
    source = source_of(broker, max_streams=2)
    source.expect(["wrist-1", "wrist-2"])
    with running(source, watcher) as run:
        for stream in ("flood-1", "wrist-1", "wrist-2", "flood-1", "wrist-1"):
            watcher.publish("sensor-logger", gyro(stream))
        came = [run.next()[0].stream for _ in range(4)]
    assert came == ["flood-1", "wrist-1", "wrist-2", "wrist-1"]
    assert source.counts["too_many_streams"] == 1


def test_a_stream_that_is_too_fast_is_held_to_its_rate(broker, watcher):
    source = source_of(broker, max_rate_hz=1.0)
    with running(source, watcher) as run:
        for i in range(50):
            watcher.publish("sensor-logger", gyro("fast", T0 + i))
        watcher.publish("sensor-logger", gyro("decent"))
        got = [run.next()[0].stream for _ in range(31)]
    assert set(got[:30]) == {"fast"}
    assert source.counts["too_fast"] >= 15


def test_sensorspot_sends_one_sample_a_message_and_is_named_by_its_topic(broker, watcher):
    source = source_of(broker, topics=["android/{stream}"])
    with running(source, watcher, "android/hello") as run:
        for kind in ("accelerometer", "gyroscope", "light"):
            event = {"type": f"android.sensor.{kind}", "timestamp": 12_345, "values": [1, 2, 3]}
            watcher.publish("android/spot-1", json.dumps(event).encode())
        (accel,), (turning,) = run.next(), run.next()
    assert (accel.stream, accel.sensor, turning.sensor) == ("spot-1", "accel", "gyro")
    assert accel.declared.clock == "device"
    assert accel.t_received_ns > T0


def test_phyphox_comma_lists_are_joined_by_their_topics(broker, watcher):
    source = source_of(broker, topics=["phyphox/{stream}/+", "sensor-logger"])
    buffers = {"accX": b"1,2", "accY": b"3,4", "accZ": b"5,null", "acc_time": b"0.5,0.51"}
    with running(source, watcher) as run:
        for name, payload in buffers.items():
            watcher.publish(f"phyphox/lab/{name}", payload)
        watcher.publish("phyphox/lab/accX", json.dumps({"payload": []}).encode())
        watcher.publish("sensor-logger", gyro())
        (batch,), (other,) = run.next(), run.next()
    assert (batch.stream, other.stream) == ("lab", "wrist-1")
    assert batch.values.tolist() == [[1.0, 3.0, 5.0]]
    assert source.counts == {"not_finite": 1}


def test_a_configured_format_leaves_out_all_others(broker, watcher):
    source = source_of(broker, format="plain")
    with running(source, watcher) as run:
        watcher.publish("sensor-logger", b'{"payload": []}')
        watcher.publish("sensor-logger", gyro(t=T0 + 5))
        assert run.next()[0].t[0] == T0 + 5
    assert source.counts == {"unknown_shape": 1}


def test_no_broker_is_named_with_its_address(stopped_broker):
    with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{stopped_broker.port}.*running"):
        source_of(stopped_broker).run(print, threading.Event())


def test_a_host_that_does_not_exist_is_unavailable():
    source = MqttSource("phone", MqttSource.Config(host="no such host"))
    with pytest.raises(SourceUnavailable, match="no such host"):
        source.run(print, threading.Event())


def test_the_loss_of_the_broker_ends_the_run(broker, watcher):
    with running(source_of(broker), watcher) as run:
        broker.kill()
        assert f"127.0.0.1:{broker.port}" in run.ended()


def test_a_frozen_broker_is_noticed_within_two_keepalives(broker, watcher):
    with running(source_of(broker, keepalive_s=2), watcher) as run:
        broker.freeze()
        assert "Keep alive timeout" in run.ended(timeout_s=4.0)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_login_names_user_and_remedy(stopped_broker, tmp_path, protocol):
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    stopped_broker.login("hard", "right")
    stopped_broker.start()
    source = source_of(
        stopped_broker, username="hard", password_file=str(secret), protocol=protocol
    )
    with pytest.raises(SourceUnavailable, match=r"refused user 'hard'.*password_file"):
        source.run(print, threading.Event())
    anonymous = source_of(stopped_broker, protocol=protocol)
    with pytest.raises(SourceUnavailable, match=r"refused an anonymous client.*username"):
        anonymous.run(print, threading.Event())


def test_the_password_may_be_a_systemd_credential(stopped_broker, tmp_path, monkeypatch):
    (tmp_path / "mqtt").write_text("right\n")
    stopped_broker.login("hard", "right")
    stopped_broker.start()
    login = {"username": "hard", "password_file": "credential:mqtt"}
    source = source_of(stopped_broker, **login)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SourceUnavailable, match="LoadCredential"):
        source.run(print, threading.Event())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with running(source, stopped_broker.watch("hard/#", username="hard", password="right")):
        pass


def test_a_missing_password_file_is_named(broker):
    source = source_of(broker, username="hard", password_file="/no/such/file")
    with pytest.raises(SourceUnavailable, match="'/no/such/file'"):
        source.run(print, threading.Event())


def test_a_second_client_with_our_id_is_named_as_the_cause(broker, watcher):
    first = source_of(broker, client_id="same")
    with (
        running(first, watcher) as run,
        running(source_of(broker, client_id="same"), watcher),
    ):
        assert "client_id" in run.ended()


def test_what_others_can_read_is_said_once(broker, tmp_path, caplog):
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    config = MqttSource.Config(
        host="127.0.0.2", port=broker.port, username="u", password_file=str(secret)
    )
    source = MqttSource("phone", config)
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            source.run(print, threading.Event())
    assert len(caplog.messages) == 2
    assert "not encrypted" in caplog.text
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"topics": []},
        {"topics": ["a/#/b"]},
        {"label_topic": "hard/label"},
        {"label_topic": "hard/label/x{stream}"},
        {"label_topic": "a/{stream}", "topics": ["a/{stream}"]},
        {"port": 0},
        {"protocol": "4"},
        {"accel_unit": "mg"},
        {"prot": 1883},
        {"max_delay_s": float("nan")},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        MqttSource.Config(**wrong)


def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(broker, caplog):
    with old_broker(broker) as port:
        source = MqttSource("phone", MqttSource.Config(host="127.0.0.1", port=port))
        assert "does not speak MQTT 5" in Running(source).ended()  # the runtime tries again
        running, phone = Running(source), broker.watch("nothing")
        while running.nothing_more():
            phone.publish("sensor-logger", gyro())
        running.stop()
    assert sum("going on with 3.1.1" in line for line in caplog.messages) == 1
