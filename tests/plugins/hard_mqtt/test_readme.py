"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

import hard_mqtt
from hard.testing import check_message
from hard_formats.messages import Format, Options, decode
from hard_mqtt import MqttCommands, MqttSink, MqttSource

README = Path(hard_mqtt.__file__).with_name("README.md").read_text("utf-8")
T_RECEIVED = 1_700_000_001_000_000_000


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", blocks("toml"))
def test_every_configuration_is_valid(block):
    ((kind, instances),) = tomllib.loads(block).items()
    ((name, settings),) = instances.items()
    plugin = {
        ("sources", "mqtt"): MqttSource,
        ("sources", "mqtt_commands"): MqttCommands,
        ("sinks", "mqtt"): MqttSink,
    }[kind, settings.pop("plugin")]
    plugin(name, plugin.Config(**settings))


def test_every_setting_and_format_is_documented():
    for name in {**MqttSource.Config.model_fields, **MqttSink.Config.model_fields}:
        assert f"`{name}`" in README
    for name in get_args(Format):
        assert f'`"{name}"`' in README


@pytest.mark.parametrize("message", blocks("json"))
def test_every_message_is_understood(message):
    decoded = decode(message.encode(), Options(), fallback="wrist-1", t_received_ns=T_RECEIVED)
    check_message(decoded.message)
    assert decoded.stream == "wrist-1"
    assert not +decoded.skipped


def test_a_message_of_each_json_format_is_shown():
    shown = {decode(m.encode(), Options(), t_received_ns=T_RECEIVED).format for m in blocks("json")}
    assert shown == {"sensor_logger", "android", "phyphox_json", "plain"}
