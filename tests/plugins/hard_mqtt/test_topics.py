import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard_formats.names import safe_id
from hard_mqtt.topics import checked_pattern, stream_in_topic, subscription


@pytest.mark.parametrize("name", ["phone-1", "A_b-9", "x" * 64])
def test_a_safe_name_is_kept(name):
    assert safe_id(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "#", "+", "Zoë", "a\x00", "ok\n", "x" * 65, "\ud800"])
def test_an_unsafe_name_is_escaped_and_stays_distinct(name):
    escaped = safe_id(name)
    assert safe_id(escaped) == escaped
    assert escaped != safe_id(name + "?")


@settings(deadline=None)  # a busy machine is no finding
@given(st.text())
def test_every_name_becomes_safe(name):
    assert safe_id(name).isascii()
    assert 1 <= len(safe_id(name)) <= 64
    assert not set(safe_id(name)) & set("/+#\x00 ")


def test_the_stream_is_the_level_that_the_pattern_names():
    patterns = ("sensor-logger", "sensors/{stream}/imu")
    assert subscription(patterns[1]) == "sensors/+/imu"
    assert stream_in_topic(patterns, "sensors/wrist-1/imu") == "wrist-1"


@pytest.mark.parametrize("topic", ["sensor-logger", "sensors/a/b/imu", "sensors//imu"])
def test_a_topic_without_that_level_names_no_stream(topic):
    assert stream_in_topic(("sensor-logger", "sensors/{stream}/imu"), topic) is None


@pytest.mark.parametrize("pattern", ["a", "a/#", "#", "+/a/+", "/a", "{stream}", "a/{stream}/+"])
def test_a_valid_pattern_is_taken(pattern):
    assert checked_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    ["", "a\x00", "a/#/b", "a#", "a+/b", "x{stream}", "{stream}/{stream}", "{device}", "a\nb"],
)
def test_a_pattern_that_no_broker_takes_is_refused(pattern):
    with pytest.raises(ValueError, match="topic"):
        checked_pattern(pattern)
