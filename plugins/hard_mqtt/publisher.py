"""One connection that publishes, and what is on its way through it; used by `MqttSink`.

It never reconnects and knows nothing of events.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.enums import MQTTErrorCode

from hard_mqtt.broker import (
    KEEP_ALIVE_TIMEOUT,
    UNSUPPORTED_VERSION,
    BrokerAwayError,
    BrokerClient,
    BrokerConfig,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    Heard = Callable[[str, bytes, bool], None]
    """Topic, payload, whether it was retained; called from the network thread."""

_CONNACK_TIMEOUT_S: Final = 6.0
_GOODBYE_TIMEOUT_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _InFlight:
    """A message the broker has not answered yet."""

    sent_s: float
    key: Hashable
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


class Publisher:
    """One connection and what is on its way through it.

    Our lock is never held while calling paho: paho calls `on_publish` under a lock of its own
    that `publish` takes too.  So an answer may come before its number is known here: it waits in
    `_early`.
    """

    def __init__(self, config: BrokerConfig, client_id: str, inflight: int = 1) -> None:
        self.failure: str | None = None
        self.ended_by_broker = False
        """Whether the broker, or something on the way to it, ended the connection."""
        self.is_version_refused = False
        self.acknowledged = 0
        self._config = config
        self._room = inflight
        self._changed = Condition()
        self._connected_s: float | None = None
        self._in_flight: dict[int, _InFlight] = {}
        self._early: dict[int, ReasonCode] = {}
        self._topics: Sequence[str] = ()
        self._heard: Heard = lambda *_: None
        self._denied: Callable[[str, ReasonCode], None] = lambda *_: None
        self._client = client = _Client(config, client_id)
        # Ours is the limit: what paho queues beyond its own would be cut off by a disconnect.
        client.max_inflight_messages = 0
        client.ended = lambda cause: self._fail(f"lost the broker at {config.address}: {cause}")
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message

    def is_idle(self) -> bool:
        """Tell whether the broker has answered everything."""
        return not self._in_flight

    def has_room(self) -> bool:
        """Tell whether another message may be sent."""
        return len(self._in_flight) < self._room

    def owed(self) -> list[Hashable]:
        """Return the keys of what the broker has not answered."""
        with self._changed:
            return [sent.key for sent in self._in_flight.values()]

    def connected_s(self) -> float | None:
        """Return for how long it has been connected, None if it never was."""
        return None if self._connected_s is None else time.monotonic() - self._connected_s

    def unacknowledged_s(self) -> float:
        """Return the age of the oldest unanswered message, 0 if there is none."""
        with self._changed:
            oldest = next(iter(self._in_flight.values()), None)
        return time.monotonic() - oldest.sent_s if oldest else 0.0

    def set_will(self, topic: str, payload: str) -> None:
        """Let the broker publish this, retained, when we vanish."""
        self._client.will_set(topic, payload, qos=1, retain=True)

    def listen(
        self, topics: Sequence[str], heard: Heard, denied: Callable[[str, ReasonCode], None]
    ) -> None:
        """Subscribe to `topics` once connected; what is refused goes to `denied`."""
        self._topics, self._heard, self._denied = topics, heard, denied

    def connect(self) -> None:
        """Connect and wait for the broker's answer; raise BrokerAwayError."""
        self._client.dial()
        self._client.loop_start()
        if not self.wait(lambda: self._connected_s is not None, _CONNACK_TIMEOUT_S):
            raise BrokerAwayError(
                self.failure
                or f"the broker at {self._config.address} accepts but does not answer: is it stuck "
                "or busy?"
            )

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for `until`; return whether it came true before the link broke or time was up."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure is not None or until(), timeout_s)
            return self.failure is None and until()

    def publish(
        self,
        topic: str,
        payload: str,
        key: Hashable,
        answered: Callable[[ReasonCode], None],
        *,
        retain: bool,
    ) -> None:
        """Send with QoS 1; `answered` is called from the network thread."""
        sent = _InFlight(time.monotonic(), key, answered)
        mid = self._client.publish(topic, payload, qos=1, retain=retain).mid
        with self._changed:
            reason = self._early.pop(mid, None)
            if reason is None:
                self._in_flight[mid] = sent
        if reason is not None:
            answered(reason)

    def close(self, goodbye: Sequence[tuple[str, str]] = ()) -> None:
        """Publish last words (topic, payload), retained; cut a line that takes over 0.5 s."""
        client = self._client
        if self._connected_s is not None and self.failure is None:
            for topic, payload in goodbye:  # QoS 0: no receive maximum holds it back
                client.publish(topic, payload, qos=0, retain=True)
            # A socket closed on unread answers resets the connection: the broker would then not
            # read the rest of what we sent.
            self.wait(self.is_idle, _GOODBYE_TIMEOUT_S)
        client.disconnect()
        if client.socket() is not None:
            with self._changed:
                self._changed.wait_for(lambda: self.failure is not None, _GOODBYE_TIMEOUT_S)
        client.cut()
        client.loop_stop()
        client.release()

    def _on_connect(
        self, client: Any, _data: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        self._client.answered = True
        if reason.is_failure:
            self.is_version_refused = reason.value == UNSUPPORTED_VERSION
            self._fail(self._client.explain(reason))
            return
        with self._changed:
            self._room = min(self._room, getattr(properties, "ReceiveMaximum", self._room))
            self._connected_s = time.monotonic()
            self._changed.notify_all()
        if self._topics:
            client.subscribe([(topic, 0) for topic in self._topics])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Any
    ) -> None:
        for topic, reason in zip(self._topics, reasons, strict=False):
            if reason.is_failure:
                self._denied(topic, reason)

    def _on_message(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._heard(topic, bytes(message.payload), message.retain)

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _props: Any
    ) -> None:
        if self.failure is None and self._connected_s is not None:
            self.ended_by_broker = reason.value not in {0, KEEP_ALIVE_TIMEOUT}
        self._fail(self._client.explain(reason))

    def _on_publish(
        self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _props: Any
    ) -> None:
        with self._changed:
            self.acknowledged += 1
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
