"""`hard.plugins`: why a plugin can't be used is data."""

import sys

import pytest

from hard.api import Sink, Source
from hard.plugins import PluginError, available, create, file_options, load


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a distribution with one module and its entry points, as pip would leave it."""

    def install(code, entry_points):
        (tmp_path / "stranger.py").write_text(code, "utf-8")
        info = tmp_path / "stranger-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points, "utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("stranger", None)


@pytest.mark.parametrize(("group", "base"), [("sources", Source), ("sinks", Sink)])
def test_every_bundled_plugin_is_usable_and_says_what_it_is(group, base):
    for plugin in available(group):
        assert plugin.state == "ok", plugin
        assert plugin.detail
        assert issubclass(load(group, plugin.name), base)


def test_an_unknown_plugin_is_told_with_what_is_installed():
    with pytest.raises(PluginError, match=r"no source plugin 'radio'; installed: file, http, mqtt"):
        load("sources", "radio")


def test_a_plugin_that_fails_to_import_is_broken_with_its_reason(installed):
    installed("raise RuntimeError('no radio here')", "[hard.sources]\nradio = stranger:Radio\n")
    (radio,) = [p for p in available("sources") if p.name == "radio"]
    assert (radio.state, radio.distribution) == ("broken", "stranger")
    assert "no radio here" in radio.detail


def test_a_plugin_that_is_no_source_is_broken(installed):
    installed("Radio = 3", "[hard.sources]\nradio = stranger:Radio\n")
    with pytest.raises(PluginError, match="is not a Source"):
        load("sources", "radio")


def test_a_plugin_for_another_api_is_broken(installed):
    installed(
        "from hard.api import Source, PluginConfig\n"
        "class Radio(Source):\n"
        "    Config = PluginConfig\n"
        "    api_version = 99\n"
        "    def run(self, emit, stop): pass\n",
        "[hard.sources]\nradio = stranger:Radio\n",
    )
    with pytest.raises(PluginError, match="plugin API 99, this is 1"):
        load("sources", "radio")


def test_options_that_name_files_are_known_by_type_or_name(installed):
    installed(
        "from pathlib import Path\n"
        "from typing import Annotated\n"
        "from pydantic import Field\n"
        "from hard.api import Source, PluginConfig\n"
        "class Config(PluginConfig):\n"
        "    log: Annotated[Path, Field(strict=False)]\n"
        "    tape: Annotated[Path, Field(strict=False)] | None = None\n"
        "    password_file: str | None = None\n"
        "    url_path: str = '/'\n"
        "class Radio(Source):\n"
        "    Config = Config\n"
        "    def run(self, emit, stop): pass\n",
        "[hard.sources]\nradio = stranger:Radio\n",
    )
    assert file_options("sources", "radio") == {"log", "tape", "password_file"}


def test_a_third_partys_plugin_is_made_like_a_bundled_one(installed):
    installed(
        "from hard.api import Source, PluginConfig\n"
        "class Config(PluginConfig):\n"
        "    channel: int\n"
        "class Radio(Source):\n"
        "    Config = Config\n"
        "    def run(self, emit, stop): pass\n",
        "[hard.sources]\nradio = stranger:Radio\n",
    )
    radio = create("sources", "kitchen", {"plugin": "radio", "channel": 3}, "pi")
    assert (radio.name, radio.node, radio.config.channel) == ("kitchen", "pi", 3)
    with pytest.raises(PluginError) as caught:
        create("sources", "kitchen", {"plugin": "radio", "channel": "3", "volume": 1}, "pi")
    assert [key for key, _ in caught.value.faults] == ["channel", "volume"]
