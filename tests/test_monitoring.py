"""`[metrics]` of a real daemon, as Prometheus and a supervisor ask it."""

import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hard.config import ConfigError, load
from tests.test_daemon import until

HARD = Path(sys.executable).with_name("hard")
TOKEN = "0123456789abcdef0123"


@contextmanager
def daemon(folder, port, metrics=""):
    """Run a daemon whose wearer is simulated in real time."""
    config = folder / "hard.toml"
    config.write_text(
        f"""
[hard]
state_dir = "state"
[metrics]
port = {port}
{metrics}
[sources.sim]
plugin = "simulator"
script = ["walking:600"]
[sinks.log]
plugin = "jsonl"
path = "events.jsonl"
"""
    )
    with subprocess.Popen(
        [HARD, "run", "-c", config], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.said = process.communicate(timeout=30)[1]


def get(port, path, token=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionError:
        return None, ""
    finally:
        connection.close()


def figures(port):
    _, text = get(port, "/metrics")
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [sample.labels[name] for name in sorted(sample.labels)]
            found[(sample.name, *labels) if labels else sample.name] = sample.value
    return found


def test_a_daemon_is_watched_while_slow_clients_sit_on_its_port(tmp_path, free_port):
    with daemon(tmp_path, free_port) as process:
        until(lambda: get(free_port, "/readyz")[0] == 200, 60.0)
        told = json.loads(get(free_port, "/healthz")[1])
        assert (told["ok"], told["degraded"]) == (True, None)
        slow = [socket.create_connection(("127.0.0.1", free_port)) for _ in range(50)]
        for peer in slow:
            with suppress(ConnectionError):  # others take its place
                peer.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        until(lambda: (tmp_path / "events.jsonl").read_text().count("walking"), 60.0)
        assert get(free_port, "/readyz")[0] == 200  # none of them keeps us out
        for peer in slow:
            peer.close()
        seen = figures(free_port)
        assert seen["hard_samples_total", "accel"] >= 50 * 3
        assert seen["hard_windows_total"] > 0
        assert 0 < seen["hard_inference_seconds_total"] < 10
        assert seen["hard_events_total"] >= 2
        assert seen["hard_up", "sim"] == seen["hard_up", "log"] == seen["hard_ready"] == 1
        assert seen["hard_gaps_total"] == seen["hard_restarts_total", "sim"] == 0
        assert not [name for name in seen if name[:2] == ("hard_counted_total", "inbox")]
        until(lambda: figures(free_port)["hard_backlog_events", "log"] == 0)
    assert process.returncode == 0


def test_a_token_guards_every_page(tmp_path, free_port):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with daemon(tmp_path, free_port, 'token_file = "token"'):
        until(lambda: get(free_port, "/healthz")[0] == 401, 60.0)
        assert get(free_port, "/healthz", TOKEN)[0] == 200
        assert get(free_port, "/metrics")[0] == 401


def test_a_port_that_is_taken_does_not_keep_the_daemon_from_its_work(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with daemon(tmp_path, port) as process:
            until((tmp_path / "events.jsonl").exists, 60.0)
    assert f"metrics can't listen on 127.0.0.1:{port}" in process.said
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('host = "0.0.0.0"', "host '0.0.0.0' can be reached by others: set token_file"),
        ('host = "pi.local"', "host 'pi.local' can be reached by others: set token_file"),
        ('token_file = "none"', "none can't be read"),
        ('token_file = "short"', "its first line must be 16 to 512 characters"),
        ("port = 0", "port"),
        ("prot = 1", 'did you mean "port"?'),
    ],
)
def test_a_table_that_can_not_be_used_is_refused(tmp_path, table, said):
    (tmp_path / "short").write_text("abc\n")
    config = tmp_path / "hard.toml"
    config.write_text(f'[metrics]\n{table}\n[sources.sim]\nplugin = "simulator"\n')
    with pytest.raises(ConfigError) as refused:
        load(config, ["sources"])
    assert said in str(refused.value)
    assert f"{config}:" in str(refused.value)
