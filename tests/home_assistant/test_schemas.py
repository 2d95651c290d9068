"""What is announced, as Home Assistant itself reads it: its parser, its schemas, its templates.

Needs its package, which needs Python 3.13 and takes minutes to install: `make test-ha`.
"""

import asyncio
import json
from importlib import import_module

import pytest

from hard.api import Description, StreamState
from hard_mqtt.home_assistant import Announcer

pytest.importorskip("homeassistant", reason="needs Home Assistant's package: make test-ha")
from homeassistant.components.mqtt import discovery
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame
from homeassistant.helpers.template import Template

HOME = Announcer("homeassistant", "home", "hard/home")
ACTIVITIES = ("walking", "sitting", "still", "unknown", "off_body")
RESTING = ("sitting", "still", "off_body")
STREAM = Description("phone-1", "Anna's phone", "pocket@0123abcd", ACTIVITIES, RESTING)
STATE = StreamState(
    "phone-1", "ok", "sitting", 1, 2, 0.98765, {"sitting": 1.0}, "00", "m", None, "sitting"
)
PLATFORMS = {
    name: import_module(f"homeassistant.components.mqtt.{name}")
    for name in ("sensor", "binary_sensor", "event")
}


@pytest.fixture(autouse=True)
def hass(tmp_path):
    """Give Home Assistant's core, which runs nothing."""

    async def made():
        core = HomeAssistant(str(tmp_path))
        frame.async_setup(core)
        return core

    loop = asyncio.new_event_loop()
    yield loop.run_until_complete(made())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def devices():
    return {"node": HOME.of_node(), "stream": HOME.of_stream(STREAM)}


def parsed(device):
    """Return platform and configuration of each component, as Home Assistant takes them apart."""
    payload = discovery._parse_device_payload(None, json.dumps(device), "an-id", None)
    assert payload, "refused: see the log"
    for name, component in payload["components"].items():
        config = discovery.MQTTDiscoveryPayload(component)
        platform = config.pop("platform")
        discovery._merge_common_device_options(config, payload)
        config |= {"device": payload["device"], "origin": payload["origin"]}
        yield name, platform, config


@pytest.mark.parametrize("which", ["node", "stream"])
def test_a_device_is_taken_with_every_key_of_it(which):
    device = devices()[which]
    kept = discovery.DEVICE_DISCOVERY_SCHEMA(device)
    assert device.keys() <= kept.keys()
    for part in ("device", "origin"):
        assert all(kept[part][key] == value for key, value in device[part].items())


@pytest.mark.parametrize("which", ["node", "stream"])
def test_every_component_comes_out_of_its_schema_as_it_went_in(which):
    names = set()
    for name, platform, config in parsed(devices()[which]):
        names.add(name)
        kept = PLATFORMS[platform].DISCOVERY_SCHEMA(dict(config))
        assert config.keys() <= kept.keys(), f"{name}: {config.keys() - kept.keys()} dropped"
        for key, value in config.items():
            if isinstance(kept[key], Template):
                assert kept[key].template == value
            elif key not in {"availability", "device"}:  # these get their defaults
                assert kept[key] == value
    assert names == devices()[which]["components"].keys()


def test_a_misspelt_key_would_be_noticed():
    device = HOME.of_stream(STREAM)
    device["components"]["activity"]["vlaue_template"] = "{{ value }}"
    name, platform, config = next(parsed(device))
    assert name == "activity"
    kept = PLATFORMS[platform].DISCOVERY_SCHEMA(dict(config))
    assert config.keys() - kept.keys() == {"vlaue_template"}


@pytest.mark.parametrize("stream", [None, "phone-1", "a/#+é "])
def test_a_topic_is_one_that_discovery_listens_to(stream):
    prefix, _, rest = HOME.topic(stream).partition("/")
    assert prefix == "homeassistant"
    match = discovery.TOPIC_MATCHER.match(rest)
    assert match["component"] == "device"
    assert match["object_id"] == HOME.object_id(stream)


@pytest.mark.parametrize(
    ("component", "changes", "shown"),
    [
        ("activity", {}, "sitting"),
        ("activity", {"confirmed": "unknown"}, "unrecognised"),
        ("activity", {"confirmed": None}, "None"),
        ("moving", {}, "OFF"),
        ("moving", {"confirmed": "walking"}, "ON"),
        ("moving", {"confirmed": None}, "None"),
        ("confidence", {}, "98.8"),
        ("confidence", {"confidence": None}, "None"),
        ("status", {}, "ok"),
    ],
)
def test_its_templates_give_the_values(hass, component, changes, shown):
    template = Template(HOME.of_stream(STREAM)["components"][component]["value_template"], hass)
    payload = json.dumps(STATE.payload() | changes)
    assert template.async_render_with_possible_json_value(payload, parse_result=False) == shown
