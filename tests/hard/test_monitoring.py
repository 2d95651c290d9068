"""Real sockets against the server; the daemon behind it tells what it is told to."""

import contextlib
import json
import logging
import socket
import threading
import time
from http.client import HTTPConnection

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hard.monitoring import MonitoringError, listening, serving

PATIENCE_S = 20.0
TOKEN = "0123456789abcdef"


class Told:
    """A daemon."""

    def __init__(self, streams=()):
        self.streams = list(streams)
        self.sick, self.busy = [], []
        self.bug = None

    def health(self):
        return {"version": "1.2.3", "uptime_s": 7.5, "rss_mb": 90.0, "degraded": None} | {
            "clock_unsynced": True
        }

    def figures(self):
        if self.bug is not None:
            raise self.bug
        return {
            "samples": {"accel": 100, "gyro": 99},
            "gaps": 3,
            "windows": 40,
            "inference_s": 0.25,
            "events": 6,
            "streams": {"ok": 2, "no_data": 1},
            "backlog": {"home": 4},
            "backlog_s": {"home": 12.5},
            "up": {"phone": True, "home": False},
            "restarts": {"phone": 0, "home": 2},
        }

    def counts(self):
        return {"inbox.dropped_samples": 5, "a.b.late": 2}

    def status(self, most_streams):
        rates = [{"stream": name, "rate_hz": {"accel": 50.0}} for name in self.streams]
        return {"streams": rates[:most_streams]}

    def unhealthy(self):
        return self.sick

    def unready(self):
        return self.sick + self.busy


@contextlib.contextmanager
def served(daemon, token=None, max_streams=2, **more):
    """Serve on a port of its own; yield it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with serving(listener.dup(), daemon, token, max_streams, **more):
            yield port


def get(port, path, method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def samples(text):
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_can_be_read_by_prometheus():
    with served(Told(["phone-1"])) as port:
        status, text = get(port, "/metrics")
    assert status == 200
    assert samples(text) == {
        ("hard_info", "1.2.3"): 1,
        ("hard_uptime_seconds",): 7.5,
        ("hard_resident_memory_bytes",): 90e6,
        ("hard_samples_total", "accel"): 100,
        ("hard_samples_total", "gyro"): 99,
        ("hard_gaps_total",): 3,
        ("hard_windows_total",): 40,
        ("hard_inference_seconds_total",): 0.25,
        ("hard_events_total",): 6,
        ("hard_counted_total", "inbox", "dropped_samples"): 5,
        ("hard_counted_total", "a.b", "late"): 2,
        ("hard_streams", "ok"): 2,
        ("hard_streams", "no_data"): 1,
        ("hard_rate_hz", "accel", "phone-1"): 50,
        ("hard_backlog_events", "home"): 4,
        ("hard_backlog_seconds", "home"): 12.5,
        ("hard_up", "phone"): 1,
        ("hard_up", "home"): 0,
        ("hard_restarts_total", "phone"): 0,
        ("hard_restarts_total", "home"): 2,
        ("hard_clock_unsynced",): 1,
        ("hard_ready",): 1,
    }


def test_openmetrics_is_spoken_to_who_asks_for_it():
    with served(Told()) as port:
        _, text = get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_streams_beyond_the_bound_share_a_name_for_ever():
    daemon = Told(["a", "b", "c", "d"])
    with served(daemon) as port:
        get(port, "/metrics")
        daemon.streams = ["d", "c", "b", "x" * 64]
        named = samples(get(port, "/metrics")[1])
    rates = {labels[2]: value for labels, value in named.items() if labels[0] == "hard_rate_hz"}
    assert rates == {"b": 50.0, "other": 150.0}


def test_health_and_readiness_say_why_not():
    daemon = Told()
    with served(daemon) as port:
        assert get(port, "/healthz")[0] == get(port, "/readyz")[0] == 200
        daemon.busy = ["no source runs"]
        assert get(port, "/healthz")[0] == 200
        status, text = get(port, "/readyz")
        assert (status, json.loads(text)["reasons"]) == (503, ["no source runs"])
        daemon.sick = ["pipeline makes no progress"]
        status, text = get(port, "/healthz")
    told = json.loads(text)
    assert (status, told["ok"], told["reasons"]) == (503, False, ["pipeline makes no progress"])
    assert told["version"] == "1.2.3"


@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer "])
def test_without_the_token_nothing_is_told(given):
    headers = {} if given is None else {"Authorization": given}
    with served(Told(), TOKEN) as port:
        for path in ("/metrics", "/healthz", "/readyz", "/"):
            assert get(port, path, **headers) == (401, "")
        assert get(port, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_what_is_not_there_or_not_asked_rightly_is_refused():
    with served(Told()) as port:
        assert get(port, "/")[0] == get(port, "/metrics/../etc/passwd")[0] == 404
        assert get(port, "/metrics", "POST")[0] == get(port, "/metrics", "DELETE")[0] == 405
        assert get(port, "/metrics", "HEAD") == (200, "")
        assert get(port, "/metrics?name=x")[0] == 200


def sent(port, data, timeout_s=PATIENCE_S):
    """Send bytes; return what comes until the other side parts, and how long that took."""
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout_s) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := peer.recv(65_536):
                said += piece
    return said, time.monotonic() - began_s


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, b"431"),
        (b"", b""),
    ],
)
def test_what_is_not_http_is_answered_or_left(data, status):
    with served(Told()) as port:
        said, _ = sent(port, data)
        assert said.startswith(b"HTTP/1.1 " + status if status else b"")
        assert get(port, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9464", "127.0.0.1:1", "127.8.9.1", "[::1]:9464", "a.localhost"]
)
def test_loopback_is_answered_by_its_own_names(host):
    with served(Told()) as port:
        assert get(port, "/metrics", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9464",
        "localhost.evil.example",
        "192.168.1.2",
        "[fe80::1]",
        "x",
    ],
)
def test_a_name_that_only_leads_to_loopback_is_not_answered(host):
    with served(Told()) as port:
        for page in ("/metrics", "/healthz", "/readyz"):
            status, said = get(port, page, Host=host)
            assert (status, "hard_" in said) == (421, False)
    with served(Told(), host="Pi.lan") as port:
        assert get(port, "/metrics", Host="pi.lan:9464")[0] == 200
    with served(Told(), token="0123456789abcdef") as port:
        known = {"Host": host, "Authorization": "Bearer 0123456789abcdef"}
        assert get(port, "/metrics", **known)[0] == 200


def test_who_speaks_http_1_0_without_a_host_is_answered():
    with served(Told()) as port:
        said, _ = sent(port, b"GET /healthz HTTP/1.0\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200")


def test_a_large_body_is_not_read():
    with served(Told()) as port:
        head = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
        said, _ = sent(port, head + b"x" * 1_000_000)
    assert said.startswith(b"HTTP/1.1 405") or not said


def test_slow_clients_are_parted_with_and_neither_threads_nor_files_pile_up():
    daemon = Told()
    threads = threading.active_count()
    with served(daemon, timeout_s=0.5) as port:
        slow = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(100)]
        for peer in slow:
            with contextlib.suppress(OSError):
                peer.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        assert get(port, "/healthz")[0] == 200  # none of them keeps us out
        assert threading.active_count() == threads + 1
        for peer in slow:  # each is told to go by the server, and not by us
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(100) == b""
            peer.close()
        assert get(port, "/healthz")[0] == 200
    assert threading.active_count() == threads


def test_a_bug_costs_one_answer_and_is_told(caplog):
    daemon = Told()
    with served(daemon) as port, caplog.at_level(logging.ERROR):
        daemon.bug = ValueError("a bug of ours")
        assert sent(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == b""
        daemon.bug = None
        assert get(port, "/metrics")[0] == 200
    assert "metrics: a bug" in caplog.text
    assert "a bug of ours" in caplog.text


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            MonitoringError, match=rf"127.0.0.1:{port}.*set metrics.port to another"
        ):
            listening("127.0.0.1", port)


def test_after_the_end_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        taken = listener.dup()
    with serving(taken, Told(), None, 2):
        assert get(port, "/healthz")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")
