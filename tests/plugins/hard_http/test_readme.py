"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path

import hard_http
from hard.testing import check_message
from hard_formats.messages import Options, decode
from hard_http import HttpSource, PhyphoxSource

README = Path(hard_http.__file__).with_name("README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_configurations_are_valid():
    push, poll = map(tomllib.loads, blocks("toml"))
    phones, pocket = push["sources"]["phones"], poll["sources"]["pocket"]
    assert (phones.pop("plugin"), pocket.pop("plugin")) == ("http", "phyphox")
    HttpSource.Config(**phones)
    PhyphoxSource.Config(**pocket)


def test_every_setting_is_documented():
    for name in {**HttpSource.Config.model_fields, **PhyphoxSource.Config.model_fields}:
        assert f"`{name}`" in README


def test_the_message_is_understood():
    (message,) = blocks("json")
    decoded = decode(message.encode(), Options())
    check_message(decoded.message)
    assert decoded.stream == "wrist-1"
