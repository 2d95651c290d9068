"""`HttpSource` and real HTTP clients: phones that send well, badly, slowly and too much."""

import concurrent.futures
import contextlib
import http.client
import json
import logging
import random
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hard.api import Annotation, SourceUnavailable
from hard.testing import check_message, check_source
from hard_http import HttpSource, push

T0 = 1_700_000_000_000_000_001
TOKEN = "0123456789abcdef-secret"
ALL = ("accelerometer", "gravity", "gyroscope")
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
JSON = {"Content-Type": "application/json"}


def logged(*names, device="phone-1", n=100, t0=T0):
    """One message as Sensor Logger sends it: a second of interleaved sensors."""
    entries = [
        {"name": name, "time": t0 + i * 10_000_000, "values": {"z": 9.8, "y": 0.1, "x": 0}}
        for i in range(n)
        for name in names
    ]
    body = {"messageId": 1, "sessionId": "s", "deviceId": device, "payload": entries}
    return json.dumps(body).encode()


def source_on(port, name="phones", **config):
    return HttpSource(name, HttpSource.Config(port=port, **config))


class Phone:
    """A client of one source; `post` waits until it listens."""

    def __init__(self, port):
        self.port = port

    def request(self, method, path="/", body=None, headers=JSON):
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def post(self, body, path="/", headers=JSON):
        return self.request("POST", path, body, headers)

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.sock = self.raw()
        return connection

    def raw(self):
        deadline_s = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=10)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline_s


@pytest.fixture
def phone(free_port):
    return Phone(free_port)


def test_it_keeps_the_contract(phone):
    def provoke():
        request = urllib.request.Request(f"http://127.0.0.1:{phone.port}/", logged(*ALL), JSON)
        with contextlib.suppress(urllib.error.URLError):  # not listening yet
            urllib.request.urlopen(request).close()

    check_source(lambda: source_on(phone.port), provoke=provoke)


def test_each_message_is_answered_with_200_and_emitted_as_one(phone, running):
    run = running(source_on(phone.port, platform="ios"))
    assert phone.post(logged(*ALL)) == (200, "")
    message = run.next()
    check_message(message)
    assert [(b.stream, b.sensor, len(b)) for b in message] == [
        ("phone-1", "linear_accel", 100),
        ("phone-1", "gravity", 100),
        ("phone-1", "gyro", 100),
    ]
    assert message[0].t[0] == T0
    assert message[0].declared.sign == -1
    assert message[0].t_received_ns > T0


@pytest.mark.parametrize(
    ("sensors", "said"),
    [
        (["accelerometer"], "Switch on Gravity beside Accelerometer"),
        (["accelerometer", "gyroscope"], "Switch on Gravity beside Accelerometer"),
        (["gyroscope"], "Switch on Accelerometer and Gravity"),
        (["gravity"], "Switch on Accelerometer and Gravity"),
        (["barometer"], "Switch on Accelerometer and Gravity"),
    ],
)
def test_a_message_that_serves_no_model_tells_which_sensor_to_switch_on(
    phone, running, sensors, said
):
    running(source_on(phone.port))
    status, text = phone.post(logged(*sensors))
    assert status == 499
    assert text.startswith(said)
    assert text.count(". ") == 0, "one sentence"


def of_entries(**changed):
    entries = [
        {"name": name, "time": T0 + i, "values": {"x": 0, "y": 0, "z": 9.8}} | changed
        for i in range(10)
        for name in ALL
    ]
    return json.dumps({"deviceId": "phone-1", "payload": entries}).encode()


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        ({"time": "now"}, "bad_time", "count since 1970"),
        ({"time": 1.7e18}, "bad_time", "count since 1970"),
        ({"values": {"x": 1, "y": 2, "z": float("nan")}}, "not_finite", "NaN"),
        ({"values": {"x": 1, "y": 2, "z": 1e99}}, "not_finite", "float32"),
        ({"values": {"x": 1, "y": 2, "z": "9.8"}}, "wrong_type", "three numbers"),
        ({"values": {"x": 1, "y": 2}}, "wrong_type", "three numbers"),
    ],
)
def test_samples_that_can_not_be_used_are_blamed_and_not_the_sensors(
    phone, running, changed, reason, said
):
    source = source_on(phone.port)
    run = running(source)
    status, text = phone.post(of_entries(**changed))
    assert status == 499
    assert f"30 samples are left out as {reason}" in text
    assert said in text
    assert "Switch on" not in text
    assert source.counts == {reason: 30}
    assert run.nothing_more()


def test_a_sensor_that_is_missing_is_named_though_samples_of_others_are_bad(phone, running):
    running(source_on(phone.port))
    entry = {"name": "gyroscope", "time": "now", "values": {"x": 0, "y": 0, "z": 0}}
    status, text = phone.post(json.dumps({"deviceId": "p", "payload": [entry]}))
    assert (status, text.startswith("Switch on Accelerometer and Gravity")) == (499, True)


def test_an_unclear_unit_is_named_with_the_setting_that_settles_it(phone, running):
    running(source_on(phone.port))
    status, text = phone.post(logged("accelerometeruncalibrated", "gyroscope", n=3))
    assert status == 499
    assert "unit_unknown" in text
    assert "set platform" in text


def test_a_wrong_unit_of_time_is_named_with_the_right_one(phone, running):
    running(source_on(phone.port))
    sample = {"t": T0 // 10**6, "accel": [0, 0, 9.8]}
    status, text = phone.post(json.dumps({"samples": [sample]}))
    assert status == 499
    assert 'time_unit = "ms"' in text


def test_bad_samples_among_good_ones_are_counted_alone(phone, running):
    source = source_on(phone.port)
    running(source)
    body = json.loads(logged(*ALL))
    body["payload"][0]["time"] = None
    assert phone.post(json.dumps(body)) == (200, "")
    assert source.counts == {"bad_time": 1}


def test_a_second_phone_under_one_name_is_told_so_and_is_a_stream_of_its_own(phone, running):
    source = source_on(phone.port, path="/har/{stream}")
    run = running(source)
    assert phone.post(logged(*ALL, device="A1"), "/har/wrist-1") == (200, "")
    status, text = phone.post(logged(*ALL, device="B2"), "/har/wrist-1")
    assert phone.post(logged(*ALL, device="A1"), "/har/wrist-1") == (200, "")
    first, second, third = run.next(), run.next(), run.next()
    assert (first[0].stream, third[0].stream) == ("wrist-1", "wrist-1")
    assert second[0].stream.startswith("wrist-1-")
    assert status == 499
    assert "'wrist-1'" in text
    assert repr(second[0].stream) in text
    assert source.counts == {"second_device": 1}


@pytest.mark.parametrize("sensors", [["totalacceleration"], ["accelerometer", "gravity"]])
def test_a_message_that_serves_a_model_is_fine_without_a_gyroscope(phone, running, sensors):
    running(source_on(phone.port))
    assert phone.post(logged(*sensors)) == (200, "")


def test_samples_without_gravity_are_emitted_all_the_same(phone, running):
    source = source_on(phone.port)
    run = running(source)
    assert phone.post(logged("accelerometer"))[0] == 499
    assert run.next()[0].sensor == "linear_accel"
    assert source.counts == {"no_gravity": 1}


def test_gravity_that_came_in_the_message_before_counts(phone, running):
    running(source_on(phone.port))
    assert phone.post(logged(*ALL))[0] == 200
    assert phone.post(logged("accelerometer"))[0] == 200
    assert phone.post(logged("accelerometer", device="phone-2"))[0] == 499


@pytest.mark.parametrize("body", [{"deviceId": "phone-1", "payload": []}, {"samples": []}])
def test_a_message_without_a_single_sample_is_fine_even_as_the_first(phone, running, body):
    source = source_on(phone.port)
    run = running(source)
    assert phone.post(json.dumps(body)) == (200, "")
    assert phone.post(logged("gyroscope"))[0] == 499
    assert run.next()[0].sensor == "gyro"
    assert source.counts == {"no_accelerometer": 1}


def test_a_label_alone_is_fine_while_its_phone_sends(phone, running):
    run = running(source_on(phone.port))
    assert phone.post(logged(*ALL))[0] == 200
    label = {"name": "annotation", "time": T0, "values": {"text": "stairs"}}
    assert phone.post(json.dumps({"deviceId": "phone-1", "payload": [label]}))[0] == 200
    run.next()
    assert run.next() == [Annotation("phone-1", T0, "stairs")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"[]", "unknown_shape"),
        (b'{"a": 1}', "unknown_shape"),
    ],
)
def test_what_is_no_message_is_answered_with_why(phone, running, body, reason):
    source = source_on(phone.port)
    run = running(source)
    status, text = phone.post(body)
    assert status == 499
    assert text.startswith("hard can't take this")
    assert source.counts == {reason: 1}
    assert run.nothing_more()


def test_the_stream_may_stand_in_the_path(phone, running):
    run = running(source_on(phone.port, path="/har/{stream}"))
    assert phone.post(logged(*ALL), "/har/wrist-1")[0] == 200
    assert run.next()[0].stream == "wrist-1"
    assert phone.post(logged(*ALL), "/har/of%20Zo%C3%AB")[0] == 200
    assert run.next()[0].stream.startswith("of_Zo_")
    assert phone.post(logged(*ALL), "/har/")[0] == 404


def test_streams_are_limited_to_those_allowed_and_in_number(phone, running):
    source = source_on(phone.port, allow=["wrist-*"], max_streams=1)
    running(source)
    told = [phone.post(logged(*ALL, device=d))[0] for d in ("phone-1", "wrist-1", "wrist-2")]
    assert told == [403, 200, 403]
    assert phone.post(logged(*ALL, device="wrist-1"))[0] == 200
    assert source.counts == {"not_allowed": 1, "too_many_streams": 1}


def test_a_stream_that_sends_too_fast_is_told_so(phone, running):
    source = source_on(phone.port, max_rate_hz=10.0)  # 300 samples at once are fine
    run = running(source)
    assert [phone.post(logged(*ALL))[0] for _ in range(2)] == [200, 429]
    assert phone.post(logged(*ALL, device="phone-2"))[0] == 200
    assert [run.next()[0].stream for _ in range(2)] == ["phone-1", "phone-2"]
    assert source.counts == {"too_fast": 1}


# Who may send


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 401),
        ("/", {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("/", {"authorization": f"bearer  {TOKEN} "}, 200),
        (f"/?token={TOKEN}", {}, 200),
        (f"/?a=b&token={TOKEN}", {}, 200),
        ("/?token=", {}, 401),
        (f"/?token={TOKEN}x", {}, 401),
        ("/?" + "&".join(f"token={i}" for i in range(99)), {}, 401),
        ("/", {"Authorization": f"Basic {TOKEN}"}, 401),
        ("/", {"Authorization": "Bearer \xe9"}, 401),
        ("/elsewhere", {}, 401),
        (f"/elsewhere?token={TOKEN}", {}, 404),
    ],
)
def test_only_who_has_the_token_may_send(phone, running, token_file, path, headers, status):
    running(source_on(phone.port, token_file=token_file))
    assert phone.post(logged(*ALL), path, JSON | headers)[0] == status


def test_without_the_token_not_even_the_body_is_read(phone, running, token_file):
    source = source_on(phone.port, token_file=token_file)
    running(source)
    with phone.raw() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 401")
    assert source.counts == {"unauthorized": 1}


def test_neither_token_nor_what_was_asked_for_is_logged(phone, running, token_file, caplog):
    caplog.set_level(logging.DEBUG)
    running(source_on(phone.port, token_file=token_file))
    wrong = "wrong-" + TOKEN
    phone.post(logged(*ALL), f"/?token={wrong}")
    phone.post(logged(*ALL), f"/{wrong}?token={TOKEN}")
    phone.post(b"{", f"/?token={TOKEN}")
    phone.request("GET", f"/?token={TOKEN}")
    with phone.raw() as sock:
        sock.sendall(f"POST /?token={TOKEN} HTTP/9.9\r\nAuthorization {TOKEN}\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
    assert len(caplog.messages) >= 5
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "pi.local", ""])
def test_a_host_beyond_loopback_needs_a_token(host):
    with pytest.raises(ValidationError):
        HttpSource.Config(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host):
    assert HttpSource.Config(host=host).token_file is None


def test_the_refusal_names_host_and_remedy():
    with pytest.raises(
        ValidationError, match=r"'0.0.0.0' can be reached by others: set token_file"
    ):
        HttpSource.Config(host="0.0.0.0")


def test_beyond_loopback_it_says_once_that_nothing_is_encrypted(phone, running, token_file, caplog):
    Path(token_file).chmod(0o644)
    source = source_on(phone.port, host="0.0.0.0", token_file=token_file)
    for _ in range(2):
        run = running(source)
        assert phone.post(logged(*ALL), f"/?token={TOKEN}")[0] == 200
        run.stop()
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "TLS proxy" in warnings[0]
    assert "chmod 600" in warnings[1]


@pytest.mark.parametrize("text", ["", "short\n", "with a space in its middle\n", "é" * 20])
def test_a_poor_token_is_refused_with_the_remedy(phone, tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(SourceUnavailable, match="openssl rand"):
        source_on(phone.port, token_file=str(path)).run(print, threading.Event())


def test_a_missing_token_file_is_named(phone):
    with pytest.raises(SourceUnavailable, match="'/no/such/file'"):
        source_on(phone.port, token_file="/no/such/file").run(print, threading.Event())


def test_the_token_may_be_a_systemd_credential(phone, running, token_file, monkeypatch):
    source = source_on(phone.port, token_file="credential:token")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SourceUnavailable, match="LoadCredential"):
        source.run(print, threading.Event())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(Path(token_file).parent))
    running(source)
    assert phone.post(logged(*ALL), f"/?token={TOKEN}")[0] == 200


# What HTTP allows


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 405),
        ("HEAD", "/", {}, 405),
        ("PUT", "/", JSON, 405),
        ("OPTIONS", "/", {}, 405),
        ("POST", "/other", JSON, 404),
        ("POST", "/", {"Content-Type": "text/plain"}, 415),  # what a web page could make one send
        ("POST", "/", {}, 415),
        ("POST", "/", {"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_other_requests_are_refused_for_what_they_are(
    phone, running, method, path, headers, status
):
    running(source_on(phone.port))
    assert phone.request(method, path, logged(*ALL), headers)[0] == status


def test_one_connection_serves_many_messages(phone, running):
    run = running(source_on(phone.port))
    connection = phone.connect()
    for i in range(5):
        connection.request("POST", "/", logged(*ALL, t0=T0 + i * 10**9), JSON)
        assert connection.getresponse().read() == b""
        assert run.next()[0].t[0] == T0 + i * 10**9
    connection.close()


def test_pipelined_messages_are_answered_in_order(phone, running):
    run = running(source_on(phone.port))
    bodies = [logged(*ALL, n=1, t0=T0 + i) for i in range(20)]
    with phone.raw() as sock:
        for body in bodies:
            sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 20:
            answers += sock.recv(65536)
    assert [run.next()[0].t[0] - T0 for _ in range(20)] == list(range(20))


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(phone, running):
    running(source_on(phone.port))
    body = logged(*ALL)
    with phone.raw() as sock:
        sock.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_a_chunked_body_is_a_body(phone, running):
    running(source_on(phone.port))
    body = logged(*ALL)
    assert phone.post(iter([body[:100], body[100:]]))[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_and_the_answer_arrives(phone, running, chunked):
    source = source_on(phone.port, max_payload_bytes=10_000)
    running(source)
    part = b" " * 50_000
    assert phone.post(iter([part] * 4) if chunked else part * 4)[0] == 413
    assert source.counts == {"too_large": 1}
    assert phone.post(logged(*ALL, n=1))[0] == 200


def test_a_head_without_end_is_refused(phone, running):
    running(source_on(phone.port))
    with phone.raw() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n" + b"X-Header: 0123456789\r\n" * 2000)
        assert sock.recv(100).startswith(b"HTTP/1.1 431")


def test_a_client_that_drips_is_cut_off_and_others_are_served_meanwhile(phone, running):
    source = source_on(phone.port, timeout_s=0.6)
    running(source)
    with phone.raw() as slow:
        slow.settimeout(0.05)
        started_s = time.monotonic()
        closed = False
        for byte in HEAD * 9:
            assert time.monotonic() - started_s < 5
            try:
                slow.sendall(bytes([byte]))
                closed = slow.recv(10) == b""
            except TimeoutError:
                assert phone.post(logged(*ALL, n=1))[0] == 200
            except ConnectionError:
                closed = True
            if closed:
                break
        assert closed
        assert time.monotonic() - started_s >= 0.5
    assert source.counts == {"slow": 1}


def test_an_idle_connection_is_closed_without_a_word(phone, running):
    source = source_on(phone.port, timeout_s=0.1)
    running(source)
    with phone.raw() as sock:
        assert sock.recv(10) == b""
    assert not source.counts


def test_connections_beyond_the_limit_are_told_so(phone, running):
    source = source_on(phone.port, max_connections=2)
    running(source)
    held = [phone.connect() for _ in range(2)]
    for connection in held:
        connection.request("POST", "/", logged(*ALL, n=1), JSON)
        assert connection.getresponse().read() == b""
    with phone.raw() as third:
        assert third.recv(100).startswith(b"HTTP/1.1 503")
    held[0].close()
    deadline_s = time.monotonic() + 5
    while phone.post(logged(*ALL, n=1))[0] != 200:
        assert time.monotonic() < deadline_s
    held[1].close()
    assert source.counts["busy"] >= 1


def test_many_phones_at_once_lose_nothing(phone, running):
    run = running(source_on(phone.port))
    phone.raw().close()

    def record(device):
        connection = phone.connect()
        for i in range(10):
            connection.request("POST", "/", logged(*ALL, device=device, t0=T0 + i * 10**9), JSON)
            assert connection.getresponse().read() == b""
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(record, [f"phone-{i}" for i in range(20)]))
    received = [run.next() for _ in range(200)]
    assert {message[0].stream for message in received} == {f"phone-{i}" for i in range(20)}
    for device in range(20):
        t = [m[0].t[0] for m in received if m[0].stream == f"phone-{device}"]
        assert t == [T0 + i * 10**9 for i in range(10)]


def test_garbage_of_every_kind_leaves_it_serving(phone, running):
    source = source_on(phone.port, timeout_s=1.0)
    run = running(source)
    dice = random.Random(0)
    good = HEAD + b"Content-Length: 2\r\n\r\n{}"
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(dice.randrange(1, 8)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        with phone.raw() as sock:
            sock.sendall(bytes(bad))
            if dice.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(5)
                try:
                    while sock.recv(4096):
                        pass
                except ConnectionError:
                    pass
    assert phone.post(logged(*ALL))[0] == 200
    assert run.next()[0].stream == "phone-1"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_body_gets_an_answer_and_no_crash(body):
    answered = []
    source = HttpSource("phones", HttpSource.Config())
    reception = push._Desk(source, None, answered.append)
    head = push.Head("peer", "POST", "/", "", {"content-type": "application/json"})
    assert reception.refuse(head) is None
    assert reception.take(head, body).status in {200, 499}
    assert not source.counts["undecodable"]


@given(st.text(), st.text())
def test_any_query_and_any_header_is_judged_without_a_crash(query, header):
    reception = push._Desk(HttpSource("p", HttpSource.Config()), TOKEN.encode(), print)
    head = push.Head("peer", "POST", "/", query, {"authorization": header})
    assert reception.refuse(head).status == 401


# The port


def test_a_second_instance_on_the_same_port_says_so(phone, running):
    running(source_on(phone.port, "first"))
    phone.raw().close()
    with pytest.raises(SourceUnavailable) as told:
        source_on(phone.port, "second").run(print, threading.Event())
    assert f"can't listen on port {phone.port} of '127.0.0.1'" in str(told.value)
    assert "set another port" in str(told.value)


def test_an_address_of_another_machine_is_refused_with_the_question(phone, token_file):
    source = source_on(phone.port, host="192.0.2.1", token_file=token_file)
    with pytest.raises(SourceUnavailable, match="is host an address of this machine"):
        source.run(print, threading.Event())


def test_it_listens_on_ipv6_too(phone, running):
    running(source_on(phone.port, host="::1"))
    deadline_s = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("::1", phone.port)).close()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s


def test_it_stops_in_time_with_connections_open_and_frees_the_port(phone, running):
    run = running(source_on(phone.port))
    idle, half = phone.raw(), phone.raw()
    half.sendall(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9"
    )
    assert phone.post(logged(*ALL))[0] == 200
    started_s = time.monotonic()
    run.stop()
    assert time.monotonic() - started_s < 0.5
    with socket.create_server(("127.0.0.1", phone.port)):
        pass
    idle.close()
    half.close()


def test_what_emit_raises_ends_the_run(phone):
    failed = []

    def emit(_message):
        raise RuntimeError("the inbox is broken")

    def run():
        try:
            source_on(phone.port).run(emit, threading.Event())
        except ExceptionGroup as group:
            failed.extend(group.exceptions)

    thread = threading.Thread(target=run)
    thread.start()
    with pytest.raises((http.client.HTTPException, OSError)):
        phone.post(logged(*ALL))
    thread.join(5)
    assert [str(error) for error in failed] == ["the inbox is broken"]


# The probe


def stages(source, timeout_s=0.2):
    return [(stage.name, stage.ok) for stage in source.probe(timeout_s)]


def test_the_probe_waits_for_a_message(phone, token_file):
    source = source_on(phone.port, token_file=token_file)
    sender = threading.Thread(target=phone.post, args=(logged(*ALL), f"/?token={TOKEN}"))
    found = source.probe(10.0)
    assert next(found).name == "token"
    assert next(found).name == "listen"
    sender.start()
    last = next(found)
    sender.join()
    assert (last.name, last.ok, last.detail) == (
        "message",
        True,
        "a message of stream 'phone-1' came",
    )


def test_the_probe_says_what_to_do_when_nothing_comes(phone):
    *_, last = source_on(phone.port, path="/har").probe(0.2)
    assert last.ok is None
    assert f"http://127.0.0.1:{phone.port}/har" in last.remedy


def test_the_probe_stops_where_the_port_is_taken(phone):
    with socket.create_server(("127.0.0.1", phone.port)):
        assert stages(source_on(phone.port)) == [("listen", False)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0},
        {"path": "no-slash"},
        {"path": "/a b"},
        {"path": "/x?token=1"},
        {"path": "/{stream}/{stream}"},
        {"path": "/a{stream}"},
        {"timeout_s": float("nan")},
        {"max_connections": 0},
        {"tokenfile": "x"},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        HttpSource.Config(**wrong)
