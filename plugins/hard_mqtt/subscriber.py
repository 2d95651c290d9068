"""A connection that listens: used by `MqttSource` to run and to probe, and by `MqttCommands`.

It decodes nothing and never reconnects; what arrives is handed out as it came.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hard_mqtt.broker import UNSUPPORTED_VERSION, BrokerAwayError, BrokerClient, BrokerConfig
from hard_mqtt.topics import subscription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

_LOOP_S = 0.2
_PACKET_OVERHEAD_BYTES = 1024  # fixed header, topic and properties around a payload
_TAKEN_PAYLOADS = 4
"""A packet of so many times the largest payload is still taken, to be told and counted as too
large.  paho holds a packet whole in memory, so beyond that a broker keeps it to itself (MQTT 5)."""

_log = logging.getLogger(__name__)


class Subscriber:
    """One connection, driven by the thread that made it: no other thread ever touches it."""

    def __init__(
        self,
        config: BrokerConfig,
        client_id: str,
        topics: Sequence[str],
        max_payload_bytes: int,
        *,
        qos: int = 0,
    ) -> None:
        self._qos = qos
        self.is_connected = False
        self.is_version_refused = False
        self.is_subscribed = False
        self._config = config
        self.topics = topics
        self._max_payload_bytes = max_payload_bytes
        self._received: deque[MQTTMessage] = deque()
        self._failure: str | None = None
        self._client = client = BrokerClient(config, client_id)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        # Only kept here: what decoding or `emit` raise must not pass through paho.
        client.on_message = lambda _client, _userdata, message: self._received.append(message)

    @property
    def described(self) -> str:
        """Who is logged in, and how."""
        return f"{self._config.who}, MQTT {self._config.protocol}"

    def connect(self) -> None:
        """Send CONNECT; the subscription follows the broker's answer."""
        properties = None
        if self._config.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # not annotated
            properties.MaximumPacketSize = (
                _TAKEN_PAYLOADS * self._max_payload_bytes + _PACKET_OVERHEAD_BYTES
            )
        self._client.dial(properties)

    def received(self) -> list[MQTTMessage]:
        """Wait up to 0.2 s and return what came; raise BrokerAwayError once the link is gone."""
        code = self._client.loop(_LOOP_S)
        messages = list(self._received)
        self._received.clear()
        if messages:  # first what arrived; a broken link shows again in the next call
            return messages
        if self._failure is not None:
            raise BrokerAwayError(self._failure)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise BrokerAwayError(f"lost the broker at {self._config.address} ({code.name})")
        return messages

    def publish(self, topic: str, payload: str, correlation: bytes | None) -> None:
        """Send with QoS 1, with MQTT 5's correlation data where there are any."""
        properties = None
        if correlation is not None and self._config.protocol == "5":
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # not annotated
            properties.CorrelationData = correlation
        self._client.publish(topic, payload, qos=1, properties=properties)

    def close(self) -> None:
        """Say goodbye if the link still takes it, and release the socket."""
        self._client.disconnect()
        self._client.cut()
        self._client.loop(0.0)
        self._client.release()

    def _on_connect(
        self, client: Any, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _props: Any
    ) -> None:
        self._client.answered = True
        if reason.is_failure:
            self.is_version_refused = reason.value == UNSUPPORTED_VERSION
            self._fail(self._client.explain(reason))
        else:
            self.is_connected = True
            client.subscribe([(subscription(topic), self._qos) for topic in self.topics])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Any
    ) -> None:
        topics = ", ".join(self.topics)
        _log.info("connected to %s, listening on %s", self._config.address, topics)
        for topic, reason in zip(self.topics, reasons, strict=False):
            if reason.is_failure:
                self._fail(
                    f"the broker at {self._config.address} refused the subscription to {topic!r} "
                    f"({reason}): allow it in the broker's ACL"
                )
        self.is_subscribed = self._failure is None

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _props: Any
    ) -> None:
        self._fail(self._client.explain(reason))

    def _fail(self, failure: str) -> None:
        self._failure = self._failure or failure
