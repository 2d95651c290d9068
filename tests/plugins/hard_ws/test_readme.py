"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path

import hard_ws
from hard_ws import WsSource

README = Path(hard_ws.__file__).with_name("README.md").read_text()


def test_the_configuration_is_valid():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    pocket = tomllib.loads(block)["sources"]["pocket"]
    assert pocket.pop("plugin") == "ws"
    WsSource.Config(**pocket)


def test_every_setting_is_documented():
    for name in WsSource.Config.model_fields:
        assert f"`{name}`" in README
