"""`MqttSource`: motion samples that phones and other senders publish through a broker.

It connects, subscribes and hands on; what a message means stands in `hard_formats.messages`.  The
runtime runs it in a thread of its own and calls `run` again after `SourceUnavailable`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from hard.api import Emit, SampleBatch, Source, SourceUnavailable, Stage, Stop
from hard_formats.admission import Admission
from hard_formats.messages import (
    AccelUnit,
    Clock,
    Decoded,
    Format,
    GyroUnit,
    Options,
    Platform,
    Refused,
    TimeUnit,
    decode,
    decode_buffer,
)
from hard_formats.names import safe_id
from hard_formats.phyphox import BufferJoiner, is_buffer
from hard_mqtt.broker import BrokerAwayError, BrokerConfig, insecurities
from hard_mqtt.probing import listened, reached
from hard_mqtt.subscriber import Subscriber
from hard_mqtt.topics import checked_pattern, stream_in_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import MQTTMessage

_IDLE_AFTER_S = 600.0

Topic = Annotated[str, AfterValidator(checked_pattern)]


class MqttSourceConfig(BrokerConfig):
    """What to listen to, and what the messages do not say about themselves."""

    topics: list[Topic] = Field(default=["sensor-logger"], min_length=1)
    format: Format = "auto"
    platform: Platform | None = None
    accel_unit: AccelUnit = "m/s2"
    gyro_unit: GyroUnit = "rad/s"
    time_unit: TimeUnit = "ns"
    clock: Clock = "epoch"
    allow: list[str] = Field(default=["*"])
    max_payload_bytes: int = Field(262_144, ge=1024, le=16_777_216)
    max_streams: int = Field(1000, ge=1)
    max_rate_hz: float = Field(2000.0, ge=1.0)
    max_delay_s: float = Field(3.0, ge=0.0, le=60.0)

    @property
    def options(self) -> Options:
        """The part that decoding needs."""
        return Options(
            format=self.format,
            platform=self.platform,
            accel_unit=self.accel_unit,
            gyro_unit=self.gyro_unit,
            time_unit=self.time_unit,
            clock=self.clock,
            max_delay_s=self.max_delay_s,
            max_payload_bytes=self.max_payload_bytes,
        )


class MqttSource(Source[MqttSourceConfig]):
    """Subscribes to topics and emits each message's samples as one message."""

    Config = MqttSourceConfig

    def __init__(self, name: str, config: MqttSourceConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._options = config.options
        self._joiner = BufferJoiner()
        self._admission = Admission(
            config.allow, config.max_streams, config.max_rate_hz, _IDLE_AFTER_S
        )
        self._warned = False

    def run(self, emit: Emit, stop: Stop) -> None:
        """Listen until `stop`; raise `SourceUnavailable` when the broker refuses or goes away."""
        self._warn()
        subscriber = self._subscriber("")
        try:
            subscriber.connect()
            while not stop.is_set():
                for message in subscriber.received():
                    self._take(message, emit)
        except BrokerAwayError as error:
            raise SourceUnavailable(str(error)) from error
        finally:
            subscriber.close()

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Try name, TCP, TLS, login and subscription; then tell what arrives."""
        deadline_s = time.monotonic() + timeout_s
        if (yield from reached(self.config)):
            yield from listened(self._subscriber("-probe"), self._decoded, deadline_s)

    def _subscriber(self, suffix: str) -> Subscriber:
        client_id = f"{safe_id(self.node)}-source-{safe_id(self.name)}{suffix}"
        config = self.config
        return Subscriber(config, client_id, config.topics, config.max_payload_bytes)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            for insecurity in insecurities(self.config):
                self.log.warning("%s: %s", self.name, insecurity)

    def _take(self, message: MQTTMessage, emit: Emit) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.skip("bad_topic", "a message's topic is not UTF-8")
            return
        if message.retain:
            self.skip("retained", f"retained messages are old, the one on {topic!r} is left out")
            return
        try:
            decoded = self._decoded(topic, bytes(message.payload))
            if decoded.message:
                n_samples = sum(len(p) for p in decoded.message if isinstance(p, SampleBatch))
                self._admission.admit(decoded.stream, n_samples, time.monotonic())
        except Refused as refused:
            self.skip(refused.reason, f"topic {topic!r}: {refused}")
            return
        except Exception as error:  # noqa: BLE001 - no message may end the loop, not even by a bug
            self.skip("undecodable", f"topic {topic!r}: decoding failed with {error!r}: a bug")
            return
        for reason, n in decoded.skipped.items():
            if n:
                self.skip(reason, f"topic {topic!r}: {n} samples left out", n)
        if decoded.message:
            emit(decoded.message)

    def _decoded(self, topic: str, payload: bytes) -> Decoded:
        named = stream_in_topic(tuple(self.config.topics), topic)
        now_ns = time.time_ns()
        if self._is_comma_list(topic, payload):
            return decode_buffer(
                self._joiner, topic, payload, self._options, named=named, t_received_ns=now_ns
            )
        return decode(payload, self._options, named=named, fallback=topic, t_received_ns=now_ns)

    def _is_comma_list(self, topic: str, payload: bytes) -> bool:
        if self._options.format == "auto":
            return is_buffer(topic) and not payload.lstrip().startswith(b"{")
        return self._options.format == "phyphox_csv"
