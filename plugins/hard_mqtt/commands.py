"""`MqttCommands`: lets whoever may publish to PREFIX/NODE/cmd/… ask something of the daemon.

A source that emits no samples.  It has a connection of its own, so that a broker's ACL can tell
those who may send samples from those who may give commands.  What a command means, and whether it
can be done, the daemon says (`Source.ask`); here only what is allowed gets through, bounded in size
and number, and every answer goes back.
"""

from __future__ import annotations

import json
import queue
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from hard.api import Command, Emit, Source, SourceUnavailable, Stage, Stop
from hard_formats.names import safe_id
from hard_mqtt.broker import BrokerAwayError, BrokerConfig, insecurities
from hard_mqtt.probing import reached
from hard_mqtt.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paho.mqtt.client import MQTTMessage

_MAX_PAYLOAD_BYTES = 4096
_MAX_ID = 64
_MAX_TOPIC = 256
_SHOWN = 200
_REMEMBERED_IDS = 256
_MINUTE_S = 60.0


class MqttCommandsConfig(BrokerConfig):
    """Where commands come from, and which ones may."""

    prefix: str = Field("hard", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    commands: list[Literal["label", "calibrate", "pause", "resume", "reload"]] = Field(min_length=1)
    max_per_minute: int = Field(60, ge=1, le=6000)
    reply_prefix: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")

    @field_validator("commands")
    @classmethod
    def _once_each(cls, commands: list[str]) -> list[str]:
        if len(set(commands)) != len(commands):
            raise ValueError("a command stands there twice")
        return commands


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where the answer to a command goes: topic, MQTT 5's correlation data, the sender's id."""

    name: str
    topic: str
    correlation: bytes | None
    id: str | int | None


class _BadCommandError(Exception):
    """A payload that is no command; the message is the sentence for its sender."""


class MqttCommands(Source[MqttCommandsConfig]):
    """Commands over MQTT: label, calibrate, pause, resume, reload, as far as they are allowed.

    Each is answered, with MQTT 5 where the sender wants it.
    """

    Config = MqttCommandsConfig

    def __init__(self, name: str, config: MqttCommandsConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._answers: queue.SimpleQueue[tuple[_Asked, Mapping[str, Any]]] = queue.SimpleQueue()
        self._seen: OrderedDict[tuple[str, str | int], None] = OrderedDict()
        self._taken_s: deque[float] = deque()
        self._warned = False

    def run(self, emit: Emit, stop: Stop) -> None:
        """Listen until `stop`; raise `SourceUnavailable` when the broker refuses or goes away."""
        del emit  # no samples come this way
        if not self._warned:
            self._warned = True
            for insecurity in insecurities(self.config):
                self.log.warning("%s: %s", self.name, insecurity)
        client_id = f"{safe_id(self.node)}-source-{safe_id(self.name)}"
        topics = [self._topic(command) for command in self.config.commands]
        subscriber = Subscriber(self.config, client_id, topics, _MAX_PAYLOAD_BYTES, qos=1)
        try:
            subscriber.connect()
            while not stop.is_set():
                for message in subscriber.received():
                    self._take(message)
                self._send_answers(subscriber)
        except BrokerAwayError as error:
            raise SourceUnavailable(str(error)) from error
        finally:
            subscriber.close()

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Try name, TCP and TLS; nothing is asked."""
        del timeout_s  # each stage has its own
        yield from reached(self.config)

    def _topic(self, *levels: str) -> str:
        return "/".join((self.config.prefix, safe_id(self.node), "cmd", *levels))

    def _take(self, message: MQTTMessage) -> None:
        """Ask what a message asks; answer at once what is no command."""
        name = message.topic.rpartition("/")[2]
        if message.retain:
            told = f"a retained {name!r} would act at each connection: it is ignored"
            self.skip("retained", told)
            return
        own = self._topic(name, "reply")
        correlation = getattr(message.properties, "CorrelationData", None)
        asked = _Asked(name, own, correlation, None)
        is_over = self._is_over_limit()
        try:
            arguments, asked = _parsed(bytes(message.payload), asked)
            self._refuse_beyond_limit(is_over)
            asked = replace(asked, topic=self._reply_topic(message, own))
        except _BadCommandError as error:
            self.skip("bad_command", f"a {name!r} was refused: {error}")
            body = {"ok": False, "error": "bad_request", "message": str(error)}
            self._answers.put((asked, body))
            return
        if asked.id is not None and not self._is_new((name, asked.id)):
            self.skip("duplicate", f"the {name!r} with the id {asked.id!r} came twice")
            return
        self.log.info("%s: %s %s", self.name, name, _short(json.dumps(arguments)))
        self.ask(Command(name, arguments, lambda body: self._answers.put((asked, body))))

    def _is_over_limit(self) -> bool:
        """Count a command, unless there were too many within a minute."""
        now_s = time.monotonic()
        while self._taken_s and self._taken_s[0] <= now_s - _MINUTE_S:
            self._taken_s.popleft()
        if len(self._taken_s) >= self.config.max_per_minute:
            return True
        self._taken_s.append(now_s)
        return False

    def _refuse_beyond_limit(self, is_over: bool) -> None:
        if is_over:
            raise _BadCommandError(f"more than {self.config.max_per_minute} commands a minute")

    def _reply_topic(self, message: MQTTMessage, own: str) -> str:
        """Return where MQTT 5's properties want the answer; raise `_BadCommandError`.

        Whoever may give commands must not make the daemon write wherever it may: to a command's
        own topic, to the state of a stream.
        """
        topic: str | None = getattr(message.properties, "ResponseTopic", None)
        if topic is None:
            return own
        allowed = [own, *([self.config.reply_prefix] if self.config.reply_prefix else [])]
        is_below = any(topic == prefix or topic.startswith(f"{prefix}/") for prefix in allowed)
        if not is_below or len(topic) > _MAX_TOPIC or set("+#\0") & set(topic):
            shown = _short(repr(topic))
            raise _BadCommandError(
                f"the response topic {shown} is not below {' or '.join(allowed)}: choose one that "
                "is, or let reply_prefix name yours"
            )
        return topic

    def _is_new(self, key: tuple[str, str | int]) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return True

    def _send_answers(self, subscriber: Subscriber) -> None:
        while not self._answers.empty():
            asked, body = self._answers.get()
            own = {"command": asked.name} | ({} if asked.id is None else {"id": asked.id})
            payload = json.dumps({**own, **body}, separators=(",", ":"))
            subscriber.publish(asked.topic, payload, asked.correlation)


def _parsed(payload: bytes, asked: _Asked) -> tuple[dict[str, Any], _Asked]:
    """Return the arguments of a command, and whom to answer; nothing stands for no arguments."""
    if len(payload) > _MAX_PAYLOAD_BYTES:
        raise _BadCommandError(f"more than {_MAX_PAYLOAD_BYTES} bytes")
    try:
        body = json.loads(payload or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _BadCommandError(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _BadCommandError('not a JSON object such as {"stream": "phone-1"}')
    number = body.pop("id", None)
    named = isinstance(number, str) and 0 < len(number) <= _MAX_ID
    counted = type(number) is int and abs(number) < 2**53
    if number is not None and not (named or counted):
        raise _BadCommandError(f"id: give a text of at most {_MAX_ID} characters, or an integer")
    return body, _Asked(asked.name, asked.topic, asked.correlation, number)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
