"""`MqttSource`: motion samples that phones and other senders publish through a broker.

It connects, subscribes and hands on; what a message means stands in `hard_formats.messages`.  The
runtime runs it in a thread of its own and calls `run` again after `SourceUnavailable`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from hard.api import Emit, Source, SourceUnavailable, Stage, Stop
from hard_formats.messages import Decoded, Refused, decode, decode_buffer, decode_label
from hard_formats.names import safe_id
from hard_formats.phyphox import BufferJoiner, is_buffer
from hard_formats.receiving import ReceivingConfig, Reception
from hard_mqtt.broker import BrokerAwayError, BrokerConfig, insecurities, spoken_in_3_1_1
from hard_mqtt.probing import listened, reached
from hard_mqtt.subscriber import Subscriber
from hard_mqtt.topics import (
    STREAM_LEVEL,
    checked_pattern,
    fits,
    stream_in_topic,
    subscription,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paho.mqtt.client import MQTTMessage

Topic = Annotated[str, AfterValidator(checked_pattern)]


class MqttSourceConfig(BrokerConfig, ReceivingConfig):
    """What to listen to, and what the messages do not say about themselves."""

    topics: list[Topic] = Field(default=["sensor-logger"], min_length=1)
    label_topic: Topic | None = None

    @model_validator(mode="after")
    def _label_topic_is_its_own(self) -> Self:
        if self.label_topic is not None and STREAM_LEVEL not in self.label_topic:
            raise ValueError(
                f"label_topic {self.label_topic!r}: one level must be {STREAM_LEVEL}, such as "
                '"hard/label/{stream}"'
            )
        if self.label_topic in self.topics:
            raise ValueError("label_topic is one of topics too: give labels a topic of their own")
        return self


class MqttSource(Source[MqttSourceConfig]):
    """Phones and boards that publish over MQTT: Sensor Logger, SensorSpot, phyphox, plain JSON.

    Each message's samples are emitted as one message.
    """

    Config = MqttSourceConfig

    def __init__(self, name: str, config: MqttSourceConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._broker: BrokerConfig = config  # with another protocol, once that was refused
        self._joiner = BufferJoiner()
        self._reception = Reception(config, self.skip)
        self._warned = False

    def expect(self, streams: Sequence[str]) -> None:
        """Let streams that are known from before come in first."""
        self._reception.expect(streams)

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
            if subscriber.is_version_refused:
                self._broker = spoken_in_3_1_1(self._broker, self.log, self.name)
            raise SourceUnavailable(str(error)) from error
        finally:
            subscriber.close()

    def advice(self) -> Iterator[tuple[str, str]]:
        """Yield what may surprise in what messages do not say about themselves."""
        return self.config.advice()

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Try name, TCP, TLS, login and subscription; then tell what arrives."""
        deadline_s = time.monotonic() + timeout_s
        if (yield from reached(self.config)):
            yield from listened(self._subscriber("-probe"), self._decoded, deadline_s)

    def _subscriber(self, suffix: str) -> Subscriber:
        client_id = f"{safe_id(self.node)}-source-{safe_id(self.name)}{suffix}"
        config = self.config
        topics, labels = list(config.topics), config.label_topic
        # Of two subscriptions that overlap a broker may send every message twice.
        if labels is not None and not any(fits(topic, subscription(labels)) for topic in topics):
            topics.append(labels)
        return Subscriber(self._broker, client_id, topics, config.max_payload_bytes)

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
        taken = self._reception.take(
            lambda: self._decoded(topic, bytes(message.payload)),
            f"topic {topic!r}",
            time.monotonic(),
        )
        if not isinstance(taken, Refused) and taken.message:
            emit(taken.message)

    def _decoded(self, topic: str, payload: bytes) -> Decoded:
        config, now_ns = self.config, time.time_ns()
        if config.label_topic is not None and fits(config.label_topic, topic):
            named = stream_in_topic((config.label_topic,), topic)
            if named is None:
                raise Refused("bad_label", "the label's topic names no stream")
            return decode_label(payload, named, now_ns)
        named = stream_in_topic(tuple(config.topics), topic)
        if self._is_comma_list(topic, payload):
            return decode_buffer(
                self._joiner, topic, payload, config, named=named, t_received_ns=now_ns
            )
        return decode(payload, config, named=named, fallback=topic, t_received_ns=now_ns)

    def _is_comma_list(self, topic: str, payload: bytes) -> bool:
        if self.config.format == "auto":
            return is_buffer(topic) and not payload.lstrip().startswith(b"{")
        return self.config.format == "phyphox_csv"
