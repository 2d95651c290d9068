"""`hard doctor --bundle` beside a real daemon: what is in it, and what is not."""

import json
import os
import socket
import stat
import sys
import tarfile

import pytest

from tests.broker import Broker
from tests.calling import Forked, hard
from tests.test_daemon import until

PLANTED = {
    "environment": "planted-in-environment",
    "password_file": "planted-in-password-file",
    "webhook_url": "planted-in-webhook-path",
    "webhook_secret": "planted-in-webhook-hmac",
    "webhook_token": "planted-in-webhook-header",
    "influx_token": "planted-in-influx-token",
    "exec_flag": "planted-in-exec-flag",
    "exec_equals": "planted-in-exec-equals",
    "exec_url": "planted-in-exec-url",
    "said": "planted-in-what-a-program-says",
    "metrics": "planted-in-metrics-token-0123456789",
    "wearer": "Planted Annamaria",
}


@pytest.fixture
def broker(tmp_path):
    with_password = Broker(tmp_path)
    with_password.login("hard", PLANTED["password_file"])
    with_password.start()
    yield with_password
    with_password.stop()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def secret(folder, name):
    path = folder / f"{name}.secret"
    path.write_text(PLANTED[name] + "\n", "utf-8")
    return path


def configured(folder, port):
    program = folder / "program.py"
    program.write_text(
        "import sys\n"
        f"print('Authorization: Bearer {PLANTED['said']}', file=sys.stderr, flush=True)\n"
        "print('args', sys.argv, file=sys.stderr, flush=True)\n"
        "for line in sys.stdin: pass\n"
    )
    path = folder / "hard.toml"
    path.write_text(
        f"""
[hard]
node = "home"
state_dir = "{folder}/state"
[metrics]
port = {free_port()}
token_file = "{secret(folder, "metrics")}"
[[streams]]
match = "sim-*"
name = "{PLANTED["wearer"]}"
[sources.sim]
plugin = "simulator"
script = ["walking:30"]
[sinks.home]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
username = "hard"
password_file = "{secret(folder, "password_file")}"
[sinks.hook]
plugin = "webhook"
url = "http://127.0.0.1:9/services/{PLANTED["webhook_url"]}"
secret_file = "{secret(folder, "webhook_secret")}"
token_file = "{secret(folder, "webhook_token")}"
[sinks.influx]
plugin = "influx"
url = "http://127.0.0.1:9"
org = "me"
bucket = "b"
token_file = "{secret(folder, "influx_token")}"
[sinks.own]
plugin = "exec"
command = ["{sys.executable}", "{program}", "--token", "{PLANTED["exec_flag"]}",
  "--api-key={PLANTED["exec_equals"]}", "http://me:{PLANTED["exec_url"]}@example.org/"]
""",
        "utf-8",
    )
    return path


def texts_of(archive):
    with tarfile.open(archive) as opened:
        return {
            member.name.removeprefix("hard-bundle/"): opened.extractfile(member).read().decode()
            for member in opened
        }


def test_a_bundle_tells_what_is_wrong_and_none_of_the_secrets(tmp_path, broker):
    config = configured(tmp_path, broker.port)
    environment = os.environ | {"MY_API_KEY": PLANTED["environment"]}
    logged, archive = tmp_path / "hard.log", tmp_path / "bundle.tar.gz"
    with (
        logged.open("w") as log,
        Forked("run", "-v", "-c", config, stderr=log, env=environment) as process,
    ):
        try:
            until(lambda: "enter" in hard("events", "-c", config).stdout, 60)
            until(lambda: PLANTED["said"] in logged.read_text())
            log.write(f"the environment has {PLANTED['environment']}\n")
            log.flush()
            options = ["--bundle", archive, "--log", logged]
            done = hard("doctor", "-c", config, *options, env=environment)
        finally:
            process.terminate()
    assert "without samples, events, passwords and names" in done.stderr
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    texts = texts_of(archive)
    for name, text in texts.items():
        for where, planted in PLANTED.items():
            assert planted not in text, f"{where} in {name}"
        assert "sim-1" not in text, name
    # What somebody else needs is there all the same.
    assert "no samples" in texts["README.txt"]
    assert "sink hook" in texts["doctor.txt"]
    versions = json.loads(texts["versions.json"])
    assert versions["packages"]["hard-daemon"] == "0.1.0"
    told = json.loads(texts["configuration.json"])
    assert told["sinks.home.username"] == "hard"
    assert told["sinks.hook.url"] == "http://127.0.0.1:9/********"
    assert told["streams"][0]["match"] == "(what matches stream-1)"
    status = json.loads(texts["status.json"])
    assert status["streams"][0]["stream"] == "stream-1"
    assert 'hard_rate_hz{sensor="accel",stream="stream-1"}' in texts["metrics.txt"]
    events = json.loads(texts["events.json"])
    assert {"stream", "kind", "what", "events"} <= events["by_kind"][0].keys()
    assert events["cursors"].keys() <= {"home", "hook", "influx", "own"}
    assert {"pocket", "waist"} <= {model["model"] for model in json.loads(texts["models.json"])}
    assert "own: 'Authorization: ******** ********'" in texts["journal.txt"]


def test_a_bundle_of_a_broken_configuration_without_a_daemon_says_so(tmp_path):
    config, archive = tmp_path / "hard.toml", tmp_path / "b.tar.gz"
    config.write_text(
        '[hard]\nnode = "a b"\n[sinks.x]\nplugin = "nope"\npassword = "plantedhere"\n'
    )
    done = hard("doctor", "-c", config, "--bundle", archive)
    assert done.returncode == 1
    texts = texts_of(archive)
    faults = json.loads(texts["configuration.json"])["faults"]
    assert any("hard.node" in fault for fault in faults)
    assert "no daemon runs" in json.loads(texts["status.json"])["message"]
    assert "no [metrics]" in texts["metrics.txt"]
    assert all("plantedhere" not in text for text in texts.values())


def test_a_bundle_that_can_not_be_written_is_told(tmp_path):
    config = tmp_path / "hard.toml"
    config.write_text('[sources.sim]\nplugin = "simulator"\n[sinks.o]\nplugin = "stdout"\n')
    done = hard("doctor", "-c", config, "--bundle", tmp_path / "none" / "b.tar.gz")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


def test_the_journal_of_the_service_is_asked_by_its_unit(tmp_path, monkeypatch):
    """The program `journalctl` is a stand-in here: a test has no journal of its own."""
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\necho "$@"; echo "password=planted-in-journal"\n')
    program.chmod(0o755)
    config, archive = tmp_path / "garage.toml", tmp_path / "b.tar.gz"
    config.write_text('[sources.sim]\nplugin = "simulator"\n[sinks.o]\nplugin = "stdout"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    hard("doctor", "-c", config, "--bundle", archive)
    journal = texts_of(archive)["journal.txt"]
    assert "--lines=1000 --unit=hard@garage.service" in journal
    assert "password=********" in journal
