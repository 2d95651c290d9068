"""`WsSource` and a real WebSocket server that streams as SensorServer does."""

import itertools
import json
import logging
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hard.api import SourceUnavailable
from hard.testing import check_message, check_source
from hard_ws import WsSource
from tests.plugins.hard_ws import phone as phone_module
from tests.plugins.hard_ws.phone import BOOT, Phone, event
from tests.running import program


@pytest.fixture
def phone():
    phone = Phone()
    yield phone
    phone.close()


def source_of(phone, name="pocket", **config):
    return WsSource(name, WsSource.Config(host="127.0.0.1", port=phone.port, **config))


def connected(running, phone, source):
    run = running(source)
    phone.asked.get(timeout=10)
    return run


def gathered(run, n):
    """Collect messages until they hold `n` samples of the accelerometer."""
    batches = []
    while sum(len(b) for b in batches if b.sensor == "accel") < n:
        batches += run.next()
    return batches


def test_it_keeps_the_contract():
    with program(phone_module) as port:
        config = WsSource.Config(host="127.0.0.1", port=port)
        check_source(lambda: WsSource("pocket", config))


def test_it_asks_for_both_sensors_as_the_app_wants_it(phone, running):
    running(source_of(phone))
    path, query = phone.asked.get(timeout=10)
    assert path == "/sensors/connect"
    assert [json.loads(types) for types in query["types"]] == [
        ["android.sensor.accelerometer", "android.sensor.gyroscope"]
    ]


def test_samples_are_the_phones_own_in_its_own_clock(phone, running):
    before_ns = time.time_ns()
    run = connected(running, phone, source_of(phone, stream="left hip"))
    phone.send(event(), event("gyroscope", BOOT + 5, (1, 2, 3)))
    message = run.next()
    check_message(message)
    accel, gyro = message
    assert accel.stream.startswith("left_hip_")
    assert (accel.sensor, accel.declared.unit, accel.declared.sign) == ("accel", "m/s2", 1)
    assert (gyro.sensor, gyro.declared.unit) == ("gyro", "rad/s")
    assert (accel.t.tolist(), gyro.t.tolist()) == ([BOOT], [BOOT + 5])
    assert accel.values.tolist() == [[0.5, -0.25, 9.8125]]
    assert accel.declared.clock == gyro.declared.clock == "device"
    assert before_ns < accel.t_received_ns <= time.time_ns()


def test_samples_that_come_together_are_emitted_together_and_none_is_lost(phone, running):
    run = connected(running, phone, source_of(phone))
    sent = [BOOT + i * 5_000_000 for i in range(1000)]
    phone.send(*(event(kind, t) for t in sent for kind in ("accelerometer", "gyroscope")))
    batches = gathered(run, 1000)
    assert [t for b in batches if b.sensor == "accel" for t in b.t] == sent
    assert {b.stream for b in batches} == {"pocket"}
    assert len(batches) < 500


def test_a_batch_arrived_when_its_last_sample_did(phone, running):
    run = connected(running, phone, source_of(phone))
    phone.send(*(event(t=BOOT + i) for i in range(200)))
    batches = gathered(run, 200)
    assert all(a.t_received_ns < b.t_received_ns for a, b in itertools.pairwise(batches))


def test_malformed_messages_are_counted_and_do_not_disturb(phone, running):
    source = source_of(phone)
    run = connected(running, phone, source)
    phone.send(
        "",
        "{",
        b"\xff\x00",
        "[]",
        event(values=(1, 2)),
        event(values=(1, "2", 3)),
        event(values=(float("nan"), 0, 0)),
        event(t=1.5),
        event("light"),
        event(t=BOOT + 9),
    )
    assert [b.t.tolist() for b in gathered(run, 1)] == [[BOOT + 9]]
    assert source.counts["not_json"] == 3
    assert source.counts["unknown_shape"] == 1
    assert sum(source.counts.values()) == 8


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_frame_is_decoded_or_counted(frame):
    source = WsSource("p", WsSource.Config(host="x"))
    source._decoded(frame)
    assert not source.counts["undecodable"]


def test_a_message_over_the_limit_ends_the_connection_and_is_counted(phone, running):
    source = source_of(phone, max_payload_bytes=1024)
    run = connected(running, phone, source)
    phone.send(" " * 2000)
    assert "1009" in run.ended()
    assert source.counts == {"too_large": 1}


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (4001, "sensor of type android.sensor.gyroscope not found", "out of sensors"),
        (4004, "Server stopped", "press Start"),
        (4005, "closed", "closed the connection in the app"),
        (1000, "", "awake"),
    ],
)
def test_why_the_app_ended_the_connection_is_said_with_the_remedy(
    phone, running, code, reason, remedy
):
    run = connected(running, phone, source_of(phone))
    phone.close_with = (code, reason)
    phone.send(event(), None)
    assert run.next()[0].sensor == "accel"
    told = run.ended()
    assert str(code) in told
    assert repr(reason) in told
    assert remedy in told


def test_a_phone_that_is_away_is_named_with_the_remedy(free_port):
    source = WsSource("p", WsSource.Config(host="127.0.0.1", port=free_port))
    with pytest.raises(SourceUnavailable, match=f"ws://127.0.0.1:{free_port}.*press Start"):
        source.run(print, threading.Event())


def test_after_an_absence_it_connects_again(free_port, running):
    phone = Phone(free_port)
    source = source_of(phone)
    run = connected(running, phone, source)
    phone.close()
    assert "ended" in run.ended()
    phone = Phone(free_port)
    run = connected(running, phone, source)
    phone.send(event())
    assert run.next()[0].sensor == "accel"
    run.stop()
    phone.close()


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n", b""]
)
def test_a_server_that_is_no_websocket_is_said_to_be_something_else(running, answer, waits):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = running(WsSource("p", WsSource.Config(host="127.0.0.1", port=port)))
        peer, _ = other.accept()
        with peer:
            if waits:
                peer.recv(65536)
            peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR)
            assert "no WebSocket of SensorServer" in run.ended()


def test_a_frozen_phone_is_noticed_within_two_keepalives(running):
    """The peer shakes hands and then never reads or answers again."""
    from websockets.server import ServerProtocol  # noqa: PLC0415 - only here

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = WsSource.Config(host="127.0.0.1", port=listener.getsockname()[1], keepalive_s=0.5)
        run = running(WsSource("p", config))
        peer, _ = listener.accept()
        protocol = ServerProtocol()
        protocol.receive_data(peer.recv(65536))
        protocol.send_response(protocol.accept(protocol.events_received()[0]))
        peer.sendall(b"".join(protocol.data_to_send()))
        began_s = time.monotonic()
        assert "ended" in run.ended() or "lost" in str(run.failure)
        assert time.monotonic() - began_s < 2.5
        peer.close()


def test_it_stops_in_time_even_if_the_phone_is_frozen(phone, running):
    run = connected(running, phone, source_of(phone))
    phone.send(*(event(t=BOOT + i) for i in range(2000)))
    run.next()
    started_s = time.monotonic()
    run.stop()
    assert time.monotonic() - started_s < 0.5


def test_the_address_may_be_given_whole(phone, running, caplog):
    caplog.set_level(logging.INFO)
    url = f"ws://user:pass@127.0.0.1:{phone.port}/other?key=hidden"
    running(WsSource("p", WsSource.Config(url=url)))
    assert phone.asked.get(timeout=10) == ("/other", {"key": ["hidden"]})
    assert "hidden" not in caplog.text
    assert "pass" not in caplog.text


def test_the_probe_goes_from_the_port_to_a_sample(phone):
    found = source_of(phone).probe(10.0)
    assert [(stage.name, stage.ok) for stage in (next(found), next(found))] == [
        ("port", True),
        ("websocket", True),
    ]
    phone.asked.get(timeout=10)
    sender = threading.Thread(target=lambda: (phone.asked.get(timeout=10), phone.send(event())))
    sender.start()
    last = next(found)
    sender.join()
    assert (last.name, last.ok) == ("sample", True)


def test_the_probe_tells_what_came_when_none_of_it_is_usable(phone):
    found = source_of(phone).probe(0.5)
    next(found), next(found)
    phone.asked.get(timeout=10)
    sender = threading.Thread(target=lambda: (phone.asked.get(timeout=10), phone.send("{")))
    sender.start()
    last = next(found)
    sender.join()
    assert (last.name, last.ok, last.detail) == (
        "sample",
        False,
        "nothing usable came: {'not_json': 1}",
    )


def test_the_probe_stops_at_the_first_stage_that_fails(free_port, phone):
    away = WsSource("p", WsSource.Config(host="127.0.0.1", port=free_port))
    assert [(s.name, s.ok) for s in away.probe(0.2)] == [("port", False)]
    silent = source_of(phone)
    assert [(s.name, s.ok) for s in silent.probe(0.2)] == [
        ("port", True),
        ("websocket", True),
        ("sample", None),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"host": "x", "url": "ws://x"},
        {"url": "http://x"},
        {"host": "x", "sensors": ["android.sensor.accelerometer"]},  # the app refuses a single one
        {"host": "x", "sensors": ["android.sensor.gyroscope", "android.sensor.gravity"]},
        {"host": "x", "keepalive_s": 0},
        {"host": "x", "prot": 1},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        WsSource.Config(**wrong)
