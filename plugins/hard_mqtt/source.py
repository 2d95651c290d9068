"""`MqttSource`: motion samples that phones and other senders publish through a broker.

It connects, subscribes and hands on; what a message means stands in `decode`.  The runtime runs
it in a thread of its own and calls `run` again after `SourceUnavailable`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import AfterValidator, Field

from hard.api import Emit, Source, SourceUnavailable, Stop
from hard_mqtt.broker import BrokerAwayError, BrokerClient, BrokerConfig, insecurities
from hard_mqtt.decode import (
    AccelUnit,
    GyroUnit,
    Options,
    Platform,
    Refused,
    TimeUnit,
    decode,
)
from hard_mqtt.topics import checked_pattern, safe_id, subscription

if TYPE_CHECKING:
    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

_LOOP_S = 0.2
_PACKET_OVERHEAD_BYTES = 1024  # fixed header, topic and properties around a payload

Topic = Annotated[str, AfterValidator(checked_pattern)]


_log = logging.getLogger(__name__)


class MqttSourceConfig(BrokerConfig):
    """What to listen to, and what the messages do not say about themselves."""

    topics: list[Topic] = Field(default=["sensor-logger"], min_length=1)
    platform: Platform | None = None
    accel_unit: AccelUnit = "m/s2"
    gyro_unit: GyroUnit = "rad/s"
    time_unit: TimeUnit = "ns"
    allow: list[str] = Field(default=["*"])
    max_payload_bytes: int = Field(262_144, ge=1024, le=16_777_216)
    max_streams: int = Field(1000, ge=1)
    max_delay_s: float = Field(3.0, ge=0.0, le=60.0)

    @property
    def options(self) -> Options:
        """The part that decoding needs."""
        return Options(
            topics=tuple(self.topics),
            platform=self.platform,
            accel_unit=self.accel_unit,
            gyro_unit=self.gyro_unit,
            time_unit=self.time_unit,
            max_delay_s=self.max_delay_s,
            max_payload_bytes=self.max_payload_bytes,
        )


class MqttSource(Source[MqttSourceConfig]):
    """Subscribes to topics and emits each message's samples as one message."""

    Config = MqttSourceConfig

    def __init__(self, name: str, config: MqttSourceConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._streams: set[str] = set()
        self._warned = False

    def run(self, emit: Emit, stop: Stop) -> None:
        """Listen until `stop`; raise `SourceUnavailable` when the broker refuses or goes away."""
        self._warn()
        client_id = f"{safe_id(self.node)}-source-{safe_id(self.name)}"
        subscriber = _Subscriber(self.config, client_id)
        options = self.config.options
        try:
            subscriber.connect()
            while not stop.is_set():
                for message in subscriber.received():
                    self._take(message, options, emit)
        except BrokerAwayError as error:
            raise SourceUnavailable(str(error)) from error
        finally:
            subscriber.close()

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            for insecurity in insecurities(self.config):
                self.log.warning("%s: %s", self.name, insecurity)

    def _take(self, message: MQTTMessage, options: Options, emit: Emit) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.skip("bad_topic", "a message's topic is not UTF-8")
            return
        if message.retain:
            self.skip("retained", f"retained messages are old, the one on {topic!r} is left out")
            return
        try:
            decoded = decode(bytes(message.payload), topic, options, time.time_ns())
        except Refused as refused:
            self.skip(refused.reason, f"topic {topic!r}: {refused}")
            return
        except Exception as error:  # noqa: BLE001 - no message may end the loop, not even by a bug
            self.skip("undecodable", f"topic {topic!r}: decoding failed with {error!r}: a bug")
            return
        for reason, n in decoded.skipped.items():
            if n:
                self.skip(reason, f"topic {topic!r}: {n} samples left out", n)
        if decoded.message and self._admits(decoded.stream):
            emit(decoded.message)

    def _admits(self, stream: str) -> bool:
        if stream in self._streams:
            return True
        if not any(fnmatchcase(stream, pattern) for pattern in self.config.allow):
            self.skip("not_allowed", f"stream {stream!r} matches nothing in allow")
            return False
        if len(self._streams) >= self.config.max_streams:
            self.skip("too_many_streams", f"{stream!r} is beyond {self.config.max_streams} streams")
            return False
        self._streams.add(stream)
        return True


class _Subscriber:
    """One connection, driven by the thread that made it: no other thread ever touches it."""

    def __init__(self, config: MqttSourceConfig, client_id: str) -> None:
        self._config = config
        self._received: deque[MQTTMessage] = deque()
        self._failure: str | None = None
        self._client = client = BrokerClient(config, client_id)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        # Only kept here: what decoding or `emit` raise must not pass through paho.
        client.on_message = lambda _client, _userdata, message: self._received.append(message)

    def connect(self) -> None:
        """Send CONNECT; the subscription follows the broker's answer."""
        properties = None
        if self._config.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # not annotated
            properties.MaximumPacketSize = self._config.max_payload_bytes + _PACKET_OVERHEAD_BYTES
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

    def close(self) -> None:
        """Say goodbye if the link still takes it, and release the socket."""
        self._client.disconnect()
        self._client.cut()
        self._client.loop(0.0)

    def _on_connect(
        self, client: Any, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _props: Any
    ) -> None:
        if reason.is_failure:
            self._fail(self._client.explain(reason))
        else:
            client.subscribe([(subscription(topic), 0) for topic in self._config.topics])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Any
    ) -> None:
        topics = ", ".join(self._config.topics)
        _log.info("connected to %s, listening on %s", self._config.address, topics)
        for topic, reason in zip(self._config.topics, reasons, strict=False):
            if reason.is_failure:
                self._fail(
                    f"the broker at {self._config.address} refused the subscription to {topic!r} "
                    f"({reason}): allow it in the broker's ACL"
                )

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _props: Any
    ) -> None:
        self._fail(self._client.explain(reason))

    def _fail(self, failure: str) -> None:
        self._failure = self._failure or failure
