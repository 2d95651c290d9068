"""`MqttSink`: events, the state of every stream and the node's own status to a broker.

It never reconnects and keeps no queue: the runtime closes it, backs off, opens it again, gives
every state again and writes again what was not confirmed.  An event is confirmed by the broker's
PUBACK alone (paho's own `is_published` also says yes to a refused message).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import MQTTErrorCode
from pydantic import Field

from hard.api import Confirm, DaySummary, Event, Sink, SinkUnavailable, Stage, StreamState
from hard_formats.names import safe_id
from hard_mqtt.broker import BrokerAwayError, BrokerClient, BrokerConfig, insecurities
from hard_mqtt.probing import cause_and_remedy, reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.reasoncodes import ReasonCode

_CONNACK_TIMEOUT_S = 6.0
_WRITE_TIMEOUT_S = 10.0
_GOODBYE_TIMEOUT_S = 0.5
_ONLINE, _OFFLINE = "online", "offline"


class MqttSinkConfig(BrokerConfig):
    """Where to publish, and how much may be on its way."""

    prefix: str = Field("hard", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    retain: bool = True
    inflight: int = Field(20, ge=1, le=100)


class MqttSink(Sink[MqttSinkConfig]):
    """Events and states over MQTT, for home automation and dashboards.

    Published with QoS 1, and confirmed when the broker has taken them.
    """

    Config = MqttSinkConfig
    retry_refused_s = 60.0
    """After an event was refused (an ACL), the link is given up and tried anew that much later."""

    def __init__(self, name: str, config: MqttSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._publisher: _Publisher | None = None
        self._retry_at_s: float | None = None
        self._warned = False

    def open(self) -> None:
        """Connect, announce `online`; raise `SinkUnavailable` with the reason and the remedy."""
        self._warn()
        self._retry_at_s = None
        client_id = f"{safe_id(self.node)}-sink-{safe_id(self.name)}"
        self._publisher = _Publisher(self.config, client_id)
        if self.config.retain:
            self._publisher.set_will(self._topic("status"), _OFFLINE)
        try:
            self._publisher.connect()
        except BrokerAwayError as error:
            raise SinkUnavailable(str(error)) from error
        if self.config.retain:
            self._publish(self._topic("status"), _ONLINE, retain=True)

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Publish each event; wait while `inflight` of them are unacknowledged.

        Raise `SinkUnavailable` when the link is gone or too slow to take them all in 10 s.
        """
        deadline_s = time.monotonic() + _WRITE_TIMEOUT_S
        for event in events:
            topic = self._topic(safe_id(event.stream), "event")
            body = _json(event.delivered(time.time_ns()))
            self._publish(topic, body, event.seq, confirm, deadline_s=deadline_s)

    def update(self, state: StreamState) -> None:
        """Publish the state, retained unless configured otherwise."""
        topic = self._topic(safe_id(state.stream), "state")
        self._publish(topic, _json(state.payload()), retain=self.config.retain)

    def summarise(self, summary: DaySummary) -> None:
        """Publish the day, retained unless configured otherwise."""
        topic = self._topic(safe_id(summary.stream), "summary")
        self._publish(topic, _json(summary.payload()), retain=self.config.retain)

    def check(self) -> None:
        """Raise `SinkUnavailable` if the link broke, is silent, or it is time to ask anew."""
        publisher = self._live()
        if publisher.unacknowledged_s() > self.config.keepalive_s:
            raise SinkUnavailable(
                f"the broker at {self.config.address} has acknowledged nothing for "
                f"{self.config.keepalive_s} s"
            )
        if self._retry_at_s is not None and time.monotonic() >= self._retry_at_s:
            raise SinkUnavailable(f"the broker at {self.config.address} refused events: retrying")

    def drain(self, timeout_s: float) -> None:
        """Wait until the broker has answered everything, the link is gone or the time is up."""
        if self._publisher is not None:
            self._publisher.wait(self._publisher.is_idle, timeout_s)

    def close(self) -> None:
        """Announce `offline`, disconnect; takes no more than about a second."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close(self._topic("status") if self.config.retain else None)

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Try name, TCP, TLS and login; nothing is published, so an ACL is not seen."""
        del timeout_s  # each stage has its own
        if not (yield from reached(self.config)):
            return
        publisher = _Publisher(self.config, f"{safe_id(self.node)}-sink-{safe_id(self.name)}-probe")
        try:
            publisher.connect()
            yield Stage("login", True, f"{self.config.who}, MQTT {self.config.protocol}")
        except BrokerAwayError as error:
            yield Stage("login", False, *cause_and_remedy(str(error)))
        finally:
            publisher.close(None)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            for insecurity in insecurities(self.config):
                self.log.warning("%s: %s", self.name, insecurity)

    def _topic(self, *levels: str) -> str:
        return "/".join((self.config.prefix, safe_id(self.node), *levels))

    def _live(self) -> _Publisher:
        if self._publisher is None:
            raise SinkUnavailable("not open")
        if self._publisher.failure is not None:
            raise SinkUnavailable(self._publisher.failure)
        return self._publisher

    def _publish(
        self,
        topic: str,
        payload: str,
        seq: int | None = None,
        confirm: Confirm | None = None,
        *,
        retain: bool = False,
        deadline_s: float | None = None,
    ) -> None:
        publisher = self._live()
        left_s = _WRITE_TIMEOUT_S if deadline_s is None else deadline_s - time.monotonic()
        if not publisher.wait(publisher.has_room, left_s):
            self._live()
            raise SinkUnavailable(
                f"the broker at {self.config.address} did not acknowledge what was published "
                f"within {_WRITE_TIMEOUT_S:.0f} s: is it stuck or the network slow?"
            )

        def answered(reason: ReasonCode) -> None:  # in the network thread
            if reason.is_failure:
                self._refused(topic, reason, retry=seq is not None)
            elif seq is not None and confirm is not None:
                confirm(seq)

        publisher.publish(topic, payload, retain, answered)

    def _refused(self, topic: str, reason: ReasonCode, *, retry: bool) -> None:
        self.skip(
            "refused",
            f"the broker at {self.config.address} refused a message on {topic!r} ({reason}): allow "
            "writing there in its ACL; events are kept and tried again",
        )
        if retry and self._retry_at_s is None:
            self._retry_at_s = time.monotonic() + self.retry_refused_s


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A message the broker has not answered yet."""

    sent_s: float
    answered: Callable[[ReasonCode], None]


class _Client(BrokerClient):
    """Tells when its network thread ends, whatever ended it: paho's `is_connected` would not."""

    ended: Callable[[str], None]

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        """Run paho's loop; it is called by the thread that `loop_start` makes."""
        cause = "connection closed"
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:  # noqa: BLE001 - a dead thread must be noticed, not guessed
            cause = f"paho failed: {error!r}"
            return MQTTErrorCode.MQTT_ERR_UNKNOWN
        finally:
            self.ended(cause)


class _Publisher:
    """One connection and what is on its way through it.

    Our lock is never held while calling paho: paho calls `on_publish` under a lock of its own
    that `publish` takes too.  So an answer may come before its number is known here: it waits in
    `_early`.
    """

    def __init__(self, config: MqttSinkConfig, client_id: str) -> None:
        self.failure: str | None = None
        self._config = config
        self._room = config.inflight
        self._changed = Condition()
        self._connected = False
        self._in_flight: dict[int, _InFlight] = {}
        self._early: dict[int, ReasonCode] = {}
        self._client = client = _Client(config, client_id)
        # Ours is the limit: what paho queues beyond its own would be cut off by a disconnect.
        client.max_inflight_messages = 0
        client.ended = lambda cause: self._fail(f"lost the broker at {config.address}: {cause}")
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def is_idle(self) -> bool:
        """Tell whether the broker has answered everything."""
        return not self._in_flight

    def has_room(self) -> bool:
        """Tell whether another message may be sent."""
        return len(self._in_flight) < self._room

    def unacknowledged_s(self) -> float:
        """Return the age of the oldest unanswered message, 0 if there is none."""
        with self._changed:
            oldest = next(iter(self._in_flight.values()), None)
        return time.monotonic() - oldest.sent_s if oldest else 0.0

    def set_will(self, topic: str, payload: str) -> None:
        """Let the broker publish this, retained, when we vanish."""
        self._client.will_set(topic, payload, qos=1, retain=True)

    def connect(self) -> None:
        """Connect and wait for the broker's answer; raise BrokerAwayError."""
        self._client.dial()
        self._client.loop_start()
        if not self.wait(lambda: self._connected, _CONNACK_TIMEOUT_S):
            raise BrokerAwayError(
                self.failure or f"the broker at {self._config.address} accepts but does not answer"
            )

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for `until`; return whether it came true before the link broke or time was up."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure is not None or until(), timeout_s)
            return self.failure is None and until()

    def publish(
        self, topic: str, payload: str, retain: bool, answered: Callable[[ReasonCode], None]
    ) -> None:
        """Send with QoS 1; `answered` is called from the network thread."""
        sent = _InFlight(time.monotonic(), answered)
        mid = self._client.publish(topic, payload, qos=1, retain=retain).mid
        with self._changed:
            reason = self._early.pop(mid, None)
            if reason is None:
                self._in_flight[mid] = sent
        if reason is not None:
            answered(reason)

    def close(self, status_topic: str | None) -> None:
        """Say `offline` and goodbye; cut the line if the broker does not take it in 0.5 s."""
        client = self._client
        if self._connected and self.failure is None:
            if status_topic is not None:  # QoS 0: no receive maximum holds it back
                client.publish(status_topic, _OFFLINE, qos=0, retain=True)
            # A socket closed on unread answers resets the connection: the broker would then not
            # read the rest of what we sent.
            self.wait(self.is_idle, _GOODBYE_TIMEOUT_S)
        client.disconnect()
        if client.socket() is not None:
            with self._changed:
                self._changed.wait_for(lambda: self.failure is not None, _GOODBYE_TIMEOUT_S)
        client.cut()
        client.loop_stop()

    def _on_connect(
        self, _client: Any, _data: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        self._client.answered = True
        if reason.is_failure:
            self._fail(self._client.explain(reason))
            return
        with self._changed:
            self._room = min(self._room, getattr(properties, "ReceiveMaximum", self._room))
            self._connected = True
            self._changed.notify_all()

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _props: Any
    ) -> None:
        self._fail(self._client.explain(reason))

    def _on_publish(
        self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _props: Any
    ) -> None:
        with self._changed:
            sent = self._in_flight.pop(mid, None)
            if sent is None:
                self._early[mid] = reason
            self._changed.notify_all()
        if sent is not None:
            sent.answered(reason)

    def _fail(self, failure: str) -> None:
        with self._changed:
            self.failure = self.failure or failure
            self._changed.notify_all()
