"""`MqttSink`: events, the state of every stream and the node's own status to a broker.

It never reconnects and keeps no queue: the runtime closes it, backs off, opens it again, gives
every state again and writes again what was not confirmed.  An event is confirmed by the broker's
PUBACK alone (paho's own `is_published` also says yes to a refused message).

On every connection, in this order: the node's status, for each stream whether it sends, what
announces it to Home Assistant, its state, its day; all of it retained.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from hard.api import Confirm, DaySummary, Description, Event, Sink, SinkUnavailable, Stage
from hard_formats.names import safe_id
from hard_mqtt.broker import BrokerAwayError, BrokerConfig, insecurities, spoken_in_3_1_1
from hard_mqtt.home_assistant import OFFLINE, ONLINE, Announcer
from hard_mqtt.probing import cause_and_remedy, published, reached
from hard_mqtt.publisher import Publisher
from hard_mqtt.subscriber import Subscriber
from hard_mqtt.suspects import TRIES, Suspects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from hard.api import StreamState

_WRITE_TIMEOUT_S: Final = 10.0
_ANNOUNCE_WITHIN_S: Final = 5.0
"""Announcing again goes on in the next round after so long."""
_AFTER_BIRTH_S: Final = (2.0, 4.0)
"""Home Assistant wants a moment between its birth and the rest; up to a second is added to it."""
_BRIEF_S: Final = 10.0
_BRIEF_ENDINGS: Final = 3
"""So many connections ended so soon, one after the other: another client has our id."""
_RETRY_REFUSED_MAX_S: Final = 3600.0
_MAX_FORGOTTEN: Final = 1000
_MAX_DEVICE_BYTES: Final = 262_144
_QUIET_S: Final = 1.0
"""A broker gives what it retains at once: after so long without any that was all."""
_MAX_STALE: Final = 10_000
_SENDING: Final = {"checking", "ok"}


class MqttSinkConfig(BrokerConfig):
    """Where to publish, and how much may be on its way."""

    prefix: str = Field("hard", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    retain: bool = True
    inflight: int = Field(20, ge=1, le=100)
    homeassistant: bool = True
    discovery_prefix: str = Field("homeassistant", pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")
    remove_evicted: bool = False
    debug: bool = False


@dataclass(slots=True)
class _Stream:
    """What is shown of a stream, to show it again."""

    description: Description | None = None
    state: StreamState | None = None
    summary: DaySummary | None = None
    availability: str | None = None
    announced: Description | None = None


class MqttSink(Sink[MqttSinkConfig]):
    """Events and states over MQTT, for home automation and dashboards.

    Published with QoS 1, and confirmed when the broker has taken them.
    """

    Config = MqttSinkConfig
    retry_refused_s = 60.0
    """Refused events (by an ACL) are tried again so much later; each time twice as much."""

    def __init__(self, name: str, config: MqttSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self.shows_windows = config.debug
        root = "/".join((config.prefix, safe_id(node)))
        self._home = Announcer(config.discovery_prefix, node, root)
        self._broker: BrokerConfig = config  # with another protocol, once that was refused
        self._publisher: Publisher | None = None
        self._suffix = ""
        self._brief_endings = 0
        self._suspects = Suspects()
        self._streams: dict[str, _Stream] = {}
        self._forgotten: dict[str, None] = {}
        self._stale: deque[str] = deque(maxlen=_MAX_STALE)
        self._refused: dict[int, tuple[Event, Confirm]] = {}
        self._retry_at_s = math.inf
        self._retry_s = self.retry_refused_s
        self._announce_at_s = math.inf
        self._to_announce: deque[str] = deque()
        self._warned = False

    # -- the connection ------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, announce `online`; raise `SinkUnavailable` with the reason and the remedy."""
        self._warn()
        self._refused.clear()
        self._stale.clear()
        self._to_announce.clear()
        self._retry_at_s = self._announce_at_s = math.inf
        self._retry_s = self.retry_refused_s
        for shown in self._streams.values():
            shown.availability = shown.announced = None
        try:
            self._connect()
        except BrokerAwayError as error:
            raise SinkUnavailable(str(error)) from error
        if self.config.retain:
            self._show(self._topic("status"), ONLINE)
        if self._announces:
            self._show(self._home.topic(), _json(self._home.of_node()))

    def check(self) -> None:
        """Do what is due; raise `SinkUnavailable` if the link broke or is silent."""
        publisher = self._live()
        if publisher.unacknowledged_s() > self.config.keepalive_s:
            raise SinkUnavailable(
                f"the broker at {self.config.address} has acknowledged nothing for "
                f"{self.config.keepalive_s} s"
            )
        self._correct_stale()
        now_s = time.monotonic()
        if now_s >= self._announce_at_s:
            self._announce_at_s = math.inf
            self._show(self._topic("status"), ONLINE)
            self._show(self._home.topic(), _json(self._home.of_node()))
            self._to_announce.extend(self._streams)
        while self._to_announce and time.monotonic() < now_s + _ANNOUNCE_WITHIN_S:
            self._show_all(self._to_announce.popleft())
        if now_s >= self._retry_at_s:
            self._retry_refused()

    def drain(self, timeout_s: float) -> None:
        """Wait until the broker has answered everything, the link is gone or the time is up."""
        if self._publisher is not None:
            self._publisher.wait(self._publisher.is_idle, timeout_s)

    def close(self) -> None:
        """Announce `offline`, disconnect; takes no more than about a second."""
        publisher, self._publisher = self._publisher, None
        if publisher is None:
            return
        self._learn(publisher)
        goodbye = []
        if self.config.retain:
            goodbye = [
                (self._topic(safe_id(stream), "availability"), OFFLINE)
                for stream, shown in self._streams.items()
                if shown.availability == ONLINE
            ]
            goodbye.append((self._topic("status"), OFFLINE))
        publisher.close(goodbye)

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Try name, TCP, TLS and login; and whether the ACL lets us write."""
        del timeout_s  # each stage has its own
        if not (yield from reached(self.config)):
            return
        publisher = Publisher(self.config, f"{self._client_id}-probe")
        try:
            publisher.connect()
            yield Stage("login", True, f"{self.config.who}, MQTT {self.config.protocol}")
            yield published(self.config, publisher, self._topic("doctor"))
        except BrokerAwayError as error:
            yield Stage("login", False, *cause_and_remedy(str(error)))
        finally:
            publisher.close()

    def announcement(self, description: Description | None) -> Mapping[str, str]:
        """Return the device of a stream, or of the node, as Home Assistant discovers it."""
        if not self._announces:
            return {}
        if description is None:
            return {self._home.topic(): _json(self._home.of_node())}
        return {self._home.topic(description.stream): _json(self._home.of_stream(description))}

    def announced(self, timeout_s: float) -> Iterator[tuple[str, str]]:
        """Yield the devices of this node that the broker retains."""
        topic = f"{self.config.discovery_prefix}/device/+/config"
        listing = f"{self._client_id}-list-{os.urandom(2).hex()}"
        subscriber = Subscriber(self.config, listing, [topic], _MAX_DEVICE_BYTES)
        end_s = time.monotonic() + timeout_s
        quiet_s = end_s
        try:
            subscriber.connect()
            while time.monotonic() < min(end_s, quiet_s):
                for message in subscriber.received():
                    quiet_s = time.monotonic() + _QUIET_S
                    if message.retain and self._home.is_ours(bytes(message.payload)):
                        yield message.topic, message.payload.decode()
                if subscriber.is_subscribed and quiet_s == end_s:
                    quiet_s = time.monotonic() + _QUIET_S
            if not subscriber.is_subscribed:
                raise SinkUnavailable(f"no answer from the broker at {self.config.address}")
        except BrokerAwayError as error:
            raise SinkUnavailable(str(error)) from error
        finally:
            subscriber.close()

    @property
    def _client_id(self) -> str:
        return f"{safe_id(self.node)}-sink-{safe_id(self.name)}"

    @property
    def _announces(self) -> bool:
        return self.config.homeassistant and self.config.retain

    def _connect(self) -> None:
        """Connect, with MQTT 3.1.1 where the broker knows no 5; raise BrokerAwayError."""
        self._publisher = publisher = self._prepared()
        try:
            publisher.connect()
        except BrokerAwayError:
            if not publisher.is_version_refused or self._broker.protocol != "5":
                raise
            publisher.close()
            self._broker = spoken_in_3_1_1(self._broker, self.log, self.name)
            self._publisher = publisher = self._prepared()
            publisher.connect()

    def _prepared(self) -> Publisher:
        """Return a connection to be made, with the will and what it is to listen to."""
        config = self._broker
        if self._suffix:  # whoever has our id may keep it
            config = config.model_copy(update={"client_id": None})
        own = self.config.client_id or self._client_id
        publisher = Publisher(config, f"{own}{self._suffix}", self.config.inflight)
        topics = []
        if self.config.retain:
            publisher.set_will(self._topic("status"), OFFLINE)
            topics.append(self._topic("+", "availability"))
        if self._announces:
            topics.append(f"{self.config.discovery_prefix}/status")
        publisher.listen(topics, self._heard, self._not_heard)
        return publisher

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            for insecurity in insecurities(self.config):
                self.log.warning("%s: %s", self.name, insecurity)

    def _live(self) -> Publisher:
        if self._publisher is None:
            raise SinkUnavailable("not open")
        if self._publisher.failure is not None:
            raise SinkUnavailable(self._publisher.failure)
        return self._publisher

    def _learn(self, publisher: Publisher) -> None:
        """Draw conclusions from how a connection ended: a poisonous message, a rival for our id."""
        lived_s = publisher.connected_s()
        if not publisher.ended_by_broker or lived_s is None:
            if lived_s is None:  # the broker is away, so nobody took our place
                self._brief_endings = 0
            return
        owed = publisher.owed()
        # Of a link that takes nothing at all no message is the cause.
        if publisher.acknowledged or not self.config.retain:
            for key in self._suspects.blame(owed):
                self.counts["set_aside"] += 1
                self.log.error(
                    "%s: %s was unanswered when the broker at %s ended %d connections in a row: it "
                    "is set aside, so that others go on (is it larger than the broker allows?)",
                    *(self.name, _named(key), self.config.address, TRIES),
                )
        brief = lived_s < _BRIEF_S and not self._suspects.is_repeated(owed)
        self._brief_endings = self._brief_endings + 1 if brief else 0
        if self._brief_endings >= _BRIEF_ENDINGS:
            self._brief_endings = 0
            self._suffix = f"-{os.urandom(2).hex()}"
            self.counts["id_taken"] += 1
            self.log.error(
                "%s: another client of the broker at %s seems to use the client_id %r, or a second "
                "daemon the node name %r: going on as %r; give each its own",
                *(self.name, self.config.address, self.config.client_id or self._client_id),
                *(self.node, f"{self._client_id}{self._suffix}"),
            )

    # -- what is heard, in the network thread --------------------------------------------------

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == f"{self.config.discovery_prefix}/status":
            if payload == ONLINE.encode() and not retained:
                self._announce_at_s = time.monotonic() + random.uniform(*_AFTER_BIRTH_S)  # noqa: S311
        elif retained and payload == ONLINE.encode():
            self._stale.append(topic)

    def _not_heard(self, topic: str, reason: ReasonCode) -> None:
        self.skip(
            "subscription_refused",
            f"the broker at {self.config.address} refused the subscription to {topic!r} ({reason})"
            ": allow reading it in its ACL, or Home Assistant's restart and streams that a killed "
            "daemon left go unnoticed",
        )

    def _correct_stale(self) -> None:
        """Say `offline` of streams that a killed daemon left `online` and that do not send now."""
        while self._stale:
            topic = self._stale.popleft()
            known = [stream for stream, shown in self._streams.items() if shown.state]
            if topic.split("/")[-2] not in map(safe_id, [*known, *self._forgotten]):
                self._show(topic, OFFLINE)

    # -- what is shown, retained ---------------------------------------------------------------

    def describe(self, description: Description) -> None:
        """Note what a stream is called; announced with its next state."""
        self._streams.setdefault(description.stream, _Stream()).description = description

    def update(self, state: StreamState) -> None:
        """Publish whether the stream sends, what announces it, and its state."""
        self._forgotten.pop(state.stream, None)
        shown = self._streams.setdefault(state.stream, _Stream())
        shown.state = state
        self._show_present(state.stream, shown)

    def summarise(self, summary: DaySummary) -> None:
        """Publish the day, retained unless configured otherwise."""
        if summary.stream not in self._forgotten:
            self._streams.setdefault(summary.stream, _Stream()).summary = summary
            self._show_day(summary)

    def explain(self, window: Mapping[str, Any]) -> None:
        """Publish how a window was judged, for whoever listens now."""
        topic = self._topic(safe_id(window["stream"]), "debug")
        self._show(topic, _json(window), retain=False)

    def retire(self, stream: str) -> None:
        """Show that a stream is gone; as configured, remove all that is shown of it."""
        if self.config.remove_evicted:
            self.forget(stream)
            return
        self._streams.pop(stream, None)
        if self.config.retain:
            self._show(self._topic(safe_id(stream), "availability"), OFFLINE)

    def forget(self, stream: str) -> None:
        """Remove all that is retained of a stream, and its device in Home Assistant."""
        self._streams.pop(stream, None)
        self._forgotten[stream] = None
        if len(self._forgotten) > _MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]
        if not self.config.retain:
            return
        topics = [self._topic(safe_id(stream), t) for t in ("availability", "state", "summary")]
        if self._announces:
            topics.insert(0, self._home.topic(stream))
        for topic in topics:
            self._show(topic, "")

    def report(self, health: Mapping[str, Any]) -> None:
        """Publish the health, retained; it tells little of a replay."""
        if self.config.retain:
            self._show(self._topic("health"), _json({"schema": 1, "node": self.node, **health}))

    def _show_all(self, stream: str) -> None:
        shown = self._streams.get(stream)
        if shown is not None:
            shown.availability = shown.announced = None
            self._show_present(stream, shown)
            if shown.summary is not None:
                self._show_day(shown.summary)

    def _show_present(self, stream: str, shown: _Stream) -> None:
        if shown.state is None:
            return
        level = safe_id(stream)
        availability = ONLINE if shown.state.status in _SENDING else OFFLINE
        if self.config.retain and availability != shown.availability:
            self._show(self._topic(level, "availability"), availability)
            shown.availability = availability
        if self._announces and shown.description not in (None, shown.announced):
            announced = self._home.of_stream(shown.description)
            self._show(self._home.topic(stream), _json(announced))
            shown.announced = shown.description
        self._show(self._topic(level, "state"), _json(shown.state.payload()))

    def _show_day(self, summary: DaySummary) -> None:
        self._show(self._topic(safe_id(summary.stream), "summary"), _json(summary.payload()))

    def _show(self, topic: str, payload: str, *, retain: bool = True) -> None:
        def answered(reason: ReasonCode) -> None:
            if reason.is_failure:
                self.skip(
                    "not_shown",
                    f"the broker at {self.config.address} refused a message on {topic!r} ({reason})"
                    f": allow writing there in its ACL{self._or_without(topic)}",
                )

        self._publish(topic, payload, topic, answered, retain=retain and self.config.retain)

    def _or_without(self, topic: str) -> str:
        is_home = topic.startswith(f"{self.config.discovery_prefix}/")
        return ", or set homeassistant = false" if is_home else ""

    # -- events --------------------------------------------------------------------------------

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Publish each event; wait while `inflight` of them are unacknowledged.

        Raise `SinkUnavailable` when the link is gone or too slow to take them all in 10 s.
        """
        deadline_s = time.monotonic() + _WRITE_TIMEOUT_S
        for event in events:
            if self._suspects.is_aside(event.id):
                self._confirm(event, confirm)
            else:
                self._write(event, confirm, deadline_s)

    def _write(self, event: Event, confirm: Confirm, deadline_s: float) -> None:
        topic = self._topic(safe_id(event.stream), "event")

        def answered(reason: ReasonCode) -> None:
            if reason.is_failure:
                self._is_refused(topic, reason, event, confirm)
            else:
                self._confirm(event, confirm)

        body = _json(event.delivered(time.time_ns()))
        self._publish(topic, body, event.id, answered, deadline_s=deadline_s)

    def _confirm(self, event: Event, confirm: Confirm) -> None:
        if not self._refused:
            self.trouble = None
        if event.seq is not None:
            confirm(event.seq)

    def _is_refused(self, topic: str, reason: ReasonCode, event: Event, confirm: Confirm) -> None:
        """Keep a refused event, to try it again; in the network thread."""
        refusal = (
            f"the broker at {self.config.address} refused a message on {topic!r} ({reason}): allow "
            "writing there in its ACL; events are kept and tried again"
        )
        self.trouble = self.trouble or refusal
        self.skip("refused", refusal)
        if event.seq is not None:
            self._refused[event.seq] = (event, confirm)
            if self._retry_at_s == math.inf:
                self._retry_at_s = time.monotonic() + self._retry_s

    def _retry_refused(self) -> None:
        """Publish what was refused again, in order; the longer it lasts the more seldom."""
        refused = []
        while self._refused:  # the network thread may be adding to it
            refused.append(self._refused.popitem())
        self._retry_at_s = math.inf
        self._retry_s = min(_RETRY_REFUSED_MAX_S, 2 * self._retry_s)
        for _, (event, confirm) in sorted(refused):
            self.write([event], confirm)

    # -- both ----------------------------------------------------------------------------------

    def _topic(self, *levels: str) -> str:
        return "/".join((self._home.root, *levels))

    def _publish(
        self,
        topic: str,
        payload: str,
        key: str,
        answered: Callable[[ReasonCode], None],
        *,
        retain: bool = False,
        deadline_s: float | None = None,
    ) -> None:
        """Send, when there is room; what may have ended a connection is sent alone."""
        if self._suspects.is_aside(key):
            return
        publisher = self._live()
        left_s = _WRITE_TIMEOUT_S if deadline_s is None else deadline_s - time.monotonic()
        suspected = key in self._suspects
        self._await(publisher, publisher.is_idle if suspected else publisher.has_room, left_s)

        def heard(reason: ReasonCode) -> None:
            self._suspects.acquit(key)
            answered(reason)

        publisher.publish(topic, payload, key, heard, retain=retain)
        if suspected:
            self._await(publisher, publisher.is_idle, left_s)

    def _await(self, publisher: Publisher, until: Callable[[], bool], timeout_s: float) -> None:
        if not publisher.wait(until, timeout_s):
            self._live()
            raise SinkUnavailable(
                f"the broker at {self.config.address} did not acknowledge what was published "
                f"within {_WRITE_TIMEOUT_S:.0f} s: is it stuck or the network slow?"
            )


def _named(key: object) -> str:
    return f"the message on {key!r}" if "/" in str(key) else f"event {key}"


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, allow_nan=False, separators=(",", ":"))
