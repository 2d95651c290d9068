"""The stages from a host's name to a message heard, for `probe` of source and sink.

It leaves everything as it was: nothing is retained, and the client's id is its own.  What is
wrong with each stage is said by `broker`, what a message means by `hard_formats`.
"""

from __future__ import annotations

import queue
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from hard.api import SampleBatch, Stage
from hard_formats.series import Refused
from hard_mqtt.broker import BrokerAwayError, tls_context, why_no_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from paho.mqtt.reasoncodes import ReasonCode

    from hard_formats.messages import Decoded
    from hard_mqtt.broker import BrokerConfig
    from hard_mqtt.publisher import Publisher
    from hard_mqtt.subscriber import Subscriber

_CONNECT_TIMEOUT_S: Final = 3.0
_ANSWER_TIMEOUT_S: Final = 6.0
_LISTEN_ON_S: Final = 1.5
"""After the first usable message, for senders that give each sensor a message of its own."""
_START_THE_APP: Final = (
    "start the sender: set its MQTT broker to this one and its topic to one of topics (Sensor "
    "Logger: Settings, Data Streaming; SensorSpot: Settings; phyphox: the experiment's <network>)"
)
_SWITCH_ON: Final = {
    "sensor_logger": "in Sensor Logger switch on Gravity beside Accelerometer (or Total "
    "Acceleration) and Gyroscope",
    "android": "in the app select the accelerometer and the gyroscope",
    "phyphox_json": "send accX, accY, accZ, acc_time and gyrX, gyrY, gyrZ, gyr_time",
    "phyphox_csv": "send accX, accY, accZ, acc_time and gyrX, gyrY, gyrZ, gyr_time",
    "plain": "send accel and gyro",
}
_PREFER_5: Final = 'use protocol = "5"'
_SEND_OTHERWISE: Final = (
    "send one of the formats of hard_mqtt's README, or set format to the one it is"
)
_SET_PLATFORM: Final = (
    'set platform = "ios" or "android": which way up is can\'t be seen in the data'
)


def reached(config: BrokerConfig) -> Generator[Stage, None, bool]:
    """Yield the stages name, tcp and, where configured, tls; return whether all went well."""
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        yield Stage("name", False, f"{config.host!r} has no address ({error})", "check host")
        return False
    addresses = sorted({str(where[0]) for *_, where in found})
    yield Stage("name", True, f"{config.host} is {', '.join(addresses)}")
    try:
        with socket.create_connection((config.host, config.port), _CONNECT_TIMEOUT_S) as line:
            yield Stage("tcp", True, f"{config.address} accepts")
            if config.tls:
                yield _tls(config, line)
    except BrokerAwayError as error:
        yield Stage("tls", False, *cause_and_remedy(str(error)))
        return False
    except OSError as error:
        cause, remedy = cause_and_remedy(why_no_connection(config, error))
        yield Stage("tcp", False, cause, f"{remedy} {_how_to_look(config)}")
        return False
    return True


def _how_to_look(config: BrokerConfig) -> str:
    if config.is_loopback:
        return (
            "Look: systemctl status mosquitto. Start it: sudo systemctl start mosquitto. Install "
            "it: sudo apt-get install mosquitto"
        )
    return (
        "mosquitto as installed answers its own machine only: give it the two lines of the README "
        "(listener, and who may), and let its firewall pass the port"
    )


def _tls(config: BrokerConfig, line: socket.socket) -> Stage:
    context = tls_context(config)
    try:
        with context.wrap_socket(line, server_hostname=config.host) as secured:
            certificate: dict[str, Any] = secured.getpeercert() or {}
            until = certificate.get("notAfter", "an unknown day")
            return Stage("tls", True, f"{secured.version()}, certificate valid until {until}")
    except OSError as error:
        raise BrokerAwayError(why_no_connection(config, error)) from error


def published(config: BrokerConfig, publisher: Publisher, topic: str) -> Stage:
    """Tell whether the broker's ACL lets us write, by an empty message that is not retained."""
    answers: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
    publisher.publish(topic, "", topic, answers.put, retain=False)
    try:
        reason = answers.get(timeout=_ANSWER_TIMEOUT_S)
    except queue.Empty:
        return Stage("publish", False, "the broker does not answer", "restart it")
    if reason.is_failure:
        detail = f"the broker refused a message on {topic!r} ({reason})"
        return Stage("publish", False, detail, "allow writing there in its ACL")
    if config.protocol != "5":
        return Stage("publish", None, "MQTT 3.1.1 does not tell what an ACL denies", _PREFER_5)
    return Stage("publish", True, f"below {topic.rpartition('/')[0]}")


def listened(
    subscriber: Subscriber, decoded: Callable[[str, bytes], Decoded], deadline_s: float
) -> Iterator[Stage]:
    """Yield the stages login, subscribe and message, until `deadline_s` (monotonic)."""
    stage = "login"
    try:
        subscriber.connect()
        answer_by_s = min(deadline_s, time.monotonic() + _ANSWER_TIMEOUT_S)
        heard = _Heard(decoded)
        _wait(subscriber, lambda: subscriber.is_connected, answer_by_s, heard)
        if not subscriber.is_connected:
            yield Stage(stage, False, "the broker accepts but does not answer", "restart it")
            return
        yield Stage(stage, True, subscriber.described)
        stage = "subscribe"
        _wait(subscriber, lambda: subscriber.is_subscribed, answer_by_s, heard)
        yield Stage(stage, subscriber.is_subscribed or None, f"to {', '.join(subscriber.topics)}")
        stage = "message"
        _wait(subscriber, lambda: bool(heard.batches), deadline_s, heard)
        listen_until_s = min(deadline_s, time.monotonic() + _LISTEN_ON_S)
        if heard.batches:
            _wait(subscriber, lambda: False, listen_until_s, heard)
        yield heard.stage()
    except BrokerAwayError as error:
        yield Stage(stage, False, *cause_and_remedy(str(error)))
    finally:
        subscriber.close()


def _wait(
    subscriber: Subscriber, until: Callable[[], bool], deadline_s: float, heard: _Heard
) -> None:
    while not until() and time.monotonic() < deadline_s:
        for message in subscriber.received():
            if not message.retain:
                heard.take(message.topic, bytes(message.payload))


class _Heard:
    """What arrived while listening, and what its sender could do better."""

    def __init__(self, decoded: Callable[[str, bytes], Decoded]) -> None:
        self.batches: list[SampleBatch] = []
        self._decoded = decoded
        self._refused: str | None = None
        self._from = ""
        self._format = ""

    def take(self, topic: str, payload: bytes) -> None:
        try:
            decoded = self._decoded(topic, payload)
        except Refused as refused:
            self._refused = f"on topic {topic!r}: {refused}"
            return
        batches = [part for part in decoded.message if isinstance(part, SampleBatch)]
        if batches and not self.batches:
            self._format = decoded.format or ""
            self._from = f"{decoded.format} on topic {topic!r}, stream {decoded.stream!r}"
        # Of one sender only: what another lacks is not its fault.
        same = not self.batches or (batches and batches[0].stream == self.batches[0].stream)
        self.batches += batches if same else []

    def stage(self) -> Stage:
        if not self.batches:
            if self._refused is not None:
                return Stage("message", False, self._refused, _SEND_OTHERWISE)
            return Stage("message", None, "nothing arrived while listening", _START_THE_APP)
        sensors = sorted({batch.sensor for batch in self.batches})
        detail = f"{self._from}: {', '.join(sensors)}"
        advice = self._advice(sensors)
        return Stage("message", not advice, detail, advice)

    def _advice(self, sensors: Iterable[str]) -> str:
        has = set(sensors)
        advice = []
        if "gyro" not in has or not ("accel" in has or {"linear_accel", "gravity"} <= has):
            advice.append(_SWITCH_ON[self._format])
        used = {"accel"} if "accel" in has else {"linear_accel", "gravity"}
        if any(b.declared.sign is None for b in self.batches if b.sensor in used):
            advice.append(_SET_PLATFORM)
        return "; ".join(advice)


def cause_and_remedy(said: str) -> tuple[str, str]:
    """Split what an error says at its last colon: what happened, what to do."""
    cause, _, remedy = said.rpartition(": ")
    return (cause, remedy) if cause else (said, "")
