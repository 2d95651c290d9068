"""Topics and the ids of streams that stand in them: pure text, no connection.

The source takes a stream's id out of a topic, the sink puts it back into one.
"""

from __future__ import annotations

from paho.mqtt.client import topic_matches_sub

STREAM_LEVEL = "{stream}"


def subscription(pattern: str) -> str:
    """Return the MQTT topic filter of a pattern.

    >>> subscription("sensors/{stream}/imu")
    'sensors/+/imu'
    """
    return pattern.replace(STREAM_LEVEL, "+")


def fits(pattern: str, topic: str) -> bool:
    """Tell whether a pattern's filter takes a topic in.

    >>> fits("hard/label/{stream}", "hard/label/wrist-1")
    True
    """
    return topic_matches_sub(subscription(pattern), topic)


def stream_in_topic(patterns: tuple[str, ...], topic: str) -> str | None:
    """Return the level of `topic` that the first matching pattern calls `{stream}`, if any.

    >>> stream_in_topic(("sensors/{stream}/imu",), "sensors/wrist-1/imu")
    'wrist-1'
    """
    for pattern in patterns:
        if STREAM_LEVEL in pattern and fits(pattern, topic):
            return topic.split("/")[pattern.split("/").index(STREAM_LEVEL)] or None
    return None


def checked_pattern(pattern: str) -> str:
    """Return `pattern`, or raise ValueError that says what a broker would not take in it."""
    levels = pattern.split("/")
    if not pattern or any(ord(character) < 0x20 or character == "\x7f" for character in pattern):
        raise ValueError(f"topic {pattern!r} is empty or holds a control character")
    if "#" in pattern and (levels[-1] != "#" or pattern.count("#") > 1):
        raise ValueError(f"topic {pattern!r}: # must be the whole last level")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError(f"topic {pattern!r}: + must be a whole level")
    named = levels.count(STREAM_LEVEL)
    if named > 1 or pattern.count("{") != named:
        raise ValueError(f"topic {pattern!r}: {STREAM_LEVEL} must be a whole level, and only once")
    return pattern
