"""The daemon as Home Assistant sees it: what appears at the broker, and how it goes away again."""

import json

import pytest

from tests.broker import Broker
from tests.calling import hard
from tests.test_control import started

CONFIG = """
[hard]
node = "pi"
state_dir = "state"

[sources.sim]
plugin = "simulator"
script = ["walking:3600"]

[[streams]]
match = "sim-*"
name = "Anna's phone"

[sinks.home]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
"""
DEVICE = "homeassistant/device/hard_pi_sim-1/config"
OF_STREAM = {
    "hard/pi/sim-1/availability",
    "hard/pi/sim-1/state",
    "hard/pi/sim-1/summary",
    DEVICE,
}
OF_NODE = {"hard/pi/status", "hard/pi/health", "homeassistant/device/hard_pi/config"}


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def config(tmp_path, broker):
    path = tmp_path / "hard.toml"
    path.write_text(CONFIG.format(port=broker.port), "utf-8")
    return path


def retained(broker):
    return {topic: body for topic, body, is_old in broker.watch("#").all_seen() if is_old}


def test_a_stream_appears_without_any_configuration_and_is_removed_for_good(broker, config):
    watcher = broker.watch("hard/pi/sim-1/summary")
    with started(config):
        watcher.next(60)  # it comes last
        shown = retained(broker)
        assert shown.keys() == OF_STREAM | OF_NODE
        device = json.loads(shown[DEVICE])
        assert device["device"]["name"] == "Anna's phone"
        assert "walking" in device["components"]["activity"]["options"]
        assert json.loads(shown["hard/pi/health"])["degraded"] is None
        watcher = broker.watch(DEVICE)
        assert watcher.next()[1] == json.dumps(device, separators=(",", ":")).encode()
        told = hard("ha", "remove", "-c", config, "sim-1")
        assert told.stdout == "sim-1: removed at home; should it send again, it comes back\n"
        assert watcher.next()[1] == b""
        assert json.loads(watcher.next()[1]) == device  # for it does
    assert hard("ha", "remove", "-c", config, "sim-1").returncode == 0
    assert retained(broker).keys() == OF_NODE
    assert retained(broker)["hard/pi/status"] == b"offline"


def test_what_is_announced_is_listed_and_what_would_be_is_shown(broker, config):
    assert "nothing is announced" in hard("ha", "list", "-c", config).stderr
    watcher = broker.watch("hard/pi/sim-1/summary")
    with started(config):
        watcher.next(60)
        broker.watch("x").publish(DEVICE.replace("sim-1", "x"), b"{no JSON", retain=True)
        foreign = b'{"device": {"identifiers": ["other"], "name": "lamp"}}'
        broker.watch("x").publish(DEVICE.replace("hard_pi_sim-1", "lamp"), foreign, retain=True)
        told = hard("ha", "list", "-c", config).stdout.splitlines()
        assert told == [
            "home: homeassistant/device/hard_pi/config: 'hard pi', 4 entities",
            f'home: {DEVICE}: "Anna\'s phone", {told[1].split()[-2]} entities',
        ]
        (_, line) = hard("ha", "list", "-c", config, "--json").stdout.splitlines()
        assert json.loads(line)["topic"] == DEVICE
        shown = hard("ha", "show", "-c", config, "sim-1")
        assert shown.stderr.splitlines()[-1] == f"home: {DEVICE}"
        assert json.loads(shown.stdout) == json.loads(retained(broker)[DEVICE])
    broker.kill()
    away = hard("ha", "list", "-c", config)
    assert away.returncode == 1
    assert "is it running" in away.stderr


def test_without_a_broker_nothing_is_removed_and_that_is_said(broker, config):
    broker.kill()
    told = hard("ha", "remove", "-c", config, "sim-1")
    assert told.returncode == 1
    assert "is it running" in told.stderr
    assert "home could not be reached" in told.stderr
