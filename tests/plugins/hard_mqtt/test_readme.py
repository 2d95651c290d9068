"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path

import hard_mqtt
from hard.testing import check_message
from hard_mqtt import MqttSink, MqttSource
from hard_mqtt.decode import Options, decode

README = Path(hard_mqtt.__file__).with_name("README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_configurations_are_valid():
    (source, sink) = map(tomllib.loads, blocks("toml"))
    phone, home = source["sources"]["phone"], sink["sinks"]["home"]
    assert phone.pop("plugin") == home.pop("plugin") == "mqtt"
    MqttSource.Config(**phone)
    MqttSink.Config(**home)


def test_every_setting_is_documented():
    for name in {**MqttSource.Config.model_fields, **MqttSink.Config.model_fields}:
        assert f"`{name}`" in README


def test_the_messages_are_understood():
    for message in blocks("json"):
        decoded = decode(message.encode(), "imu", Options())
        check_message(decoded.message)
        assert decoded.stream == "wrist-1"
        assert not +decoded.skipped
