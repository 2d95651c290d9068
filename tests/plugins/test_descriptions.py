"""What `hard plugins` says of each plugin is for who uses it, not for who wrote it."""

import re

import pytest

from hard.plugins import available

BUNDLED = [*available("sources"), *available("sinks")]


@pytest.mark.parametrize("plugin", BUNDLED, ids=lambda p: f"{p.group}-{p.name}")
def test_a_plugin_says_in_one_line_what_it_is_for(plugin):
    assert plugin.state == "ok"
    assert plugin.detail.endswith(".")
    assert len(plugin.detail) <= 100
    assert not re.search(r"emit|confirm|`|samples as|QoS|line per event", plugin.detail)
