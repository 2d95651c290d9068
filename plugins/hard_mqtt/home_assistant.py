"""What Home Assistant is told by MQTT discovery: a device for the node and one for each stream.

Pure: topics and payloads, no connection.  `MqttSink` publishes them, retained.  The format is that
of "device discovery", which Home Assistant knows since 2024.11:
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from hard_formats.names import safe_id

if TYPE_CHECKING:
    from hard.api import Description

ONLINE: Final = "online"
OFFLINE: Final = "offline"
EVENT_TYPES: Final = ("enter", "exit", "status")
STATUSES: Final = ("checking", "ok", "no_data", "rejected", "paused")
_UNRECOGNISED: Final = "unrecognised"
"""Home Assistant's own "unknown" means that there is no value, so ours is called otherwise."""


@dataclass(frozen=True, slots=True)
class Announcer:
    """Makes the topics and payloads of one node; `root` is the beginning of the node's topics."""

    discovery_prefix: str
    node: str
    root: str

    def topic(self, stream: str | None = None) -> str:
        """Return where the device of a stream, or of the node, is announced."""
        return f"{self.discovery_prefix}/device/{self.object_id(stream)}/config"

    def object_id(self, stream: str | None = None) -> str:
        """Return the id of a device: of letters, digits, _ and -, and no other node's.

        >>> Announcer("homeassistant", "home", "hard/home").object_id("phone-1")
        'hard_home_phone-1'
        """
        node = safe_id(self.node)
        parts = ["hard", node] if stream is None else ["hard", node, safe_id(stream)]
        if "_" in node:  # or a_b's c would be a's b_c
            parts.append(blake2b(node.encode(), digest_size=3).hexdigest())
        return "_".join(parts)

    def is_ours(self, payload: bytes) -> bool:
        """Tell whether a message announces this node or one of its streams."""
        try:
            device = json.loads(payload)["device"]
            own = self.object_id()
            return bool(device.get("via_device") == own or own in device["identifiers"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False

    def of_node(self) -> dict[str, Any]:
        """Return what announces the node: whether it is there, and how it does."""
        own, health = self.object_id(), f"{self.root}/health"
        told = {
            "entity_category": "diagnostic",
            "state_topic": health,
            "availability": [{"topic": f"{self.root}/status"}],
        }
        return {
            "device": {"identifiers": [own], "name": f"hard {self.node}", "manufacturer": "hard"}
            | {"model": "Human Activity Recognition Daemon", "sw_version": _version()},
            "origin": _origin(),
            "components": {
                "connected": {
                    "platform": "binary_sensor",
                    "unique_id": f"{own}_connected",
                    "name": "Connected",
                    "device_class": "connectivity",
                    "entity_category": "diagnostic",
                    "state_topic": f"{self.root}/status",
                    "payload_on": ONLINE,
                    "payload_off": OFFLINE,
                },
                "problem": {
                    "platform": "binary_sensor",
                    "unique_id": f"{own}_problem",
                    "name": "Problem",
                    "device_class": "problem",
                    "value_template": "{{ 'OFF' if value_json.degraded is none else 'ON' }}",
                    "json_attributes_topic": health,
                    **told,
                },
                "streams": {
                    "platform": "sensor",
                    "unique_id": f"{own}_streams",
                    "name": "Streams",
                    "state_class": "measurement",
                    "value_template": "{{ value_json.streams }}",
                    **told,
                },
                "version": {
                    "platform": "sensor",
                    "unique_id": f"{own}_version",
                    "name": "Version",
                    "value_template": "{{ value_json.version }}",
                    **told,
                },
            },
        }

    def of_stream(self, description: Description) -> dict[str, Any]:
        """Return what announces a stream: what its wearer does and did, and whether it sends."""
        stream = description.stream
        own, root = self.object_id(stream), f"{self.root}/{safe_id(stream)}"
        node = {"topic": f"{self.root}/status"}
        components = {
            **_present(description, root),
            **_past(description, root, [node]),
        }
        for name, component in components.items():
            component["unique_id"] = f"{own}_{name}"
        return {
            "device": {
                "identifiers": [own],
                "name": description.name,
                "manufacturer": "hard",
                "model": description.model,
                "via_device": self.object_id(),
            },
            "origin": _origin(),
            "availability": [node, {"topic": f"{root}/availability"}],
            "availability_mode": "all",
            "components": components,
        }


def _present(description: Description, root: str) -> dict[str, dict[str, Any]]:
    """Return the components that have a value only while the stream sends."""
    state = f"{root}/state"
    return {
        "activity": {
            "platform": "sensor",
            "name": "Activity",
            "device_class": "enum",
            "options": [_shown(activity) for activity in description.activities],
            "state_topic": state,
            "value_template": "{{ value_json.confirmed if value_json.confirmed != 'unknown' else "
            f"'{_UNRECOGNISED}' }}}}",
            "json_attributes_topic": state,
        },
        "moving": {
            "platform": "binary_sensor",
            "name": "Moving",
            "device_class": "moving",
            "state_topic": state,
            "value_template": "{{ none if value_json.confirmed is none else 'OFF' if "
            f"value_json.confirmed in {json.dumps(description.resting)} else 'ON' }}}}",
        },
        "confidence": {
            "platform": "sensor",
            "name": "Confidence",
            "entity_category": "diagnostic",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "state_topic": state,
            "value_template": "{{ none if value_json.confidence is none else "
            "(value_json.confidence * 100) | round(1) }}",
        },
        "change": {
            "platform": "event",
            "name": "Activity change",
            "event_types": list(EVENT_TYPES),
            "state_topic": f"{root}/event",
            # What an outage held up must not set off anything hours later.
            "value_template": "{{ '' if value_json.late else value }}",
        },
    }


def _past(
    description: Description, root: str, availability: list[dict[str, str]]
) -> dict[str, dict[str, Any]]:
    """Return the components that keep their value when the stream falls silent."""
    summary = f"{root}/summary"
    components: dict[str, dict[str, Any]] = {
        "status": {
            "platform": "sensor",
            "name": "Status",
            "device_class": "enum",
            "options": list(STATUSES),
            "entity_category": "diagnostic",
            "state_topic": f"{root}/state",
            "value_template": "{{ value_json.status }}",
            "availability": availability,
        },
        "last_seen": {
            "platform": "sensor",
            "name": "Last seen",
            "device_class": "timestamp",
            "entity_category": "diagnostic",
            "state_topic": summary,
            "value_template": "{{ value_json.last_seen }}",
            "availability": availability,
        },
    }
    for activity in description.activities:
        components[f"today_{activity}"] = {
            "platform": "sensor",
            "name": f"{_shown(activity).replace('_', ' ').capitalize()} today",
            "device_class": "duration",
            "unit_of_measurement": "s",
            "state_class": "total",
            "state_topic": summary,
            "value_template": f"{{{{ value_json.activity_s.get({json.dumps(activity)}, 0) }}}}",
            "last_reset_value_template": "{{ value_json.t_start }}",
            "availability": availability,
        }
    return components


def _shown(activity: str) -> str:
    return _UNRECOGNISED if activity == "unknown" else activity


def _origin() -> dict[str, str]:
    return {"name": "hard", "sw_version": _version()}


def _version() -> str:
    return version("hard-daemon")
