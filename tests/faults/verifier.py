"""A subscriber with a durable session that notes every event it is given, and an account of it."""

import json
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hard.eventfile import from_body
from tests.test_daemon import until


class Verifier:
    """Connected whenever the broker is there; `seen` are (stream, seq, id, late) in their order.

    `arrived_ns` are the wall clock's times at which each id came first.

    A broker that is killed resets the line to whom it owes reading an acknowledgement, and what lay
    unread in it is gone: no fault of who published.  So a second connection listens with QoS 0,
    which acknowledges nothing and is read to its end: `heard` are the ids that came there.
    """

    def __init__(self, port, topic="hard/faults/+/event", login=()):
        self.seen, self.heard, self.arrived_ns = [], set(), {}
        self.last_s = time.monotonic()
        self._subscribed = threading.Event()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, "verifier", protocol=MQTTProtocolVersion.MQTTv5
        )
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        session.ReceiveMaximum = 65535
        client.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
        client.on_disconnect = lambda *_: self._subscribed.clear()
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._note
        client.reconnect_delay_set(0.01, 0.02)
        if login:
            client.username_pw_set(*login)
        client.connect("127.0.0.1", port, keepalive=20, clean_start=False, properties=session)
        client.loop_start()
        self._listener = listener = Client(CallbackAPIVersion.VERSION2)
        listener.on_connect = lambda c, *_: c.subscribe(topic, qos=0)
        listener.on_message = lambda _c, _d, m: self.heard.add(json.loads(m.payload)["id"])
        listener.reconnect_delay_set(0.01, 0.02)
        if login:
            listener.username_pw_set(*login)
        listener.connect("127.0.0.1", port)
        listener.loop_start()
        self.be_there()

    def be_there(self):
        """Wait until it is connected and subscribed."""
        assert self._subscribed.wait(20.0), "the verifier is not subscribed"

    def be_gone(self):
        """Wait until it has noticed that the broker is away."""
        until(lambda: not self._subscribed.is_set())

    def _note(self, _client, _data, message):
        body = json.loads(message.payload)
        self.last_s = time.monotonic()
        self.arrived_ns.setdefault(body["id"], time.time_ns())
        self.seen.append((body["stream"], body["seq"], body["id"], body["late"]))

    def ids(self):
        return {event_id for _, _, event_id, _ in list(self.seen)} | self.heard.copy()

    def close(self):
        for client in (self._client, self._listener):
            client.disconnect()
            client.loop_stop()
            client._reset_sockets()  # else paho leaves them to the garbage collector


@dataclass(frozen=True)
class Account:
    """What became of the events of a log."""

    made: int
    delivered: int
    duplicated: int
    lost: int
    late: int
    cut_off: int
    """Came to the listener alone: a killed broker took the durable session's with it."""

    def __str__(self):
        cut_off = f" ({self.cut_off} in a line cut off by a kill)" if self.cut_off else ""
        return (
            f"{self.made} events made, {self.delivered} delivered{cut_off}, {self.duplicated} of "
            f"them again, {self.lost} lost"
        )


def logged(path):
    """Return every event of an event log that nobody has open, in the order of their numbers."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT body, seq FROM events ORDER BY seq").fetchall()
    return [from_body(body, seq) for body, seq in rows]


def in_log(path):
    """Return how many events a log holds that may be in use."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10.0)
    try:
        return db.execute("SELECT count(*) FROM events").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        db.close()


def account(path, verifier, patience_s=10.0, *, forgotten=False, poison=()):
    """Hold what the verifier saw against the log, whose daemon has ended.

    Nothing lost; twice only what has the same id and number; in order per stream; no number for
    two events; no exit decided before its enter.  Only a card that failed may have `forgotten` what
    was delivered; `poison` are ids that no broker takes.
    """
    events = [event for event in logged(path) if event.id not in poison]
    expected = {event.id: event for event in events}
    assert len(expected) == len(events), "two events of the log share an id"
    decided = {event.bout: event.t_decided for event in events if event.kind == "enter"}
    exits = [event for event in events if event.kind == "exit"]
    early = [exit_ for exit_ in exits if exit_.t_decided < decided.get(exit_.bout, 0)]
    assert not early, f"{early[:3]} were decided before their enters"
    # The durable session may still be behind the listener.
    until(
        lambda: (
            (len(verifier.seen) >= len(events) and expected.keys() <= verifier.ids())
            or _quiet(verifier, patience_s)
        ),
        60.0,
    )
    seen = list(verifier.seen)
    first = {}
    for stream, seq, event_id, _ in seen:
        known = first.setdefault(event_id, (stream, seq))
        assert known == (stream, seq), f"{event_id} came as {known} and as {(stream, seq)}"
    assert all(first[e.id] == (e.stream, e.seq) for e in events if e.id in first)
    beyond = len(first.keys() - expected.keys())
    assert forgotten or not beyond, f"{beyond} were delivered that the log does not hold"
    assert max(Counter(seq for _, seq in first.values()).values(), default=0) <= 1
    streams = {}
    for stream, seq in first.values():  # in the order in which each came first
        streams.setdefault(stream, []).append(seq)
    for stream, numbers in streams.items():
        assert all(a < b for a, b in pairwise(numbers)), f"{stream} is out of order"
    delivered = expected.keys() & verifier.ids()
    found = Account(
        made=len(events),
        delivered=len(delivered),
        duplicated=len(seen) - len(first),
        lost=len(expected.keys() - delivered),
        cut_off=len(delivered - first.keys()),
        late=sum(late for *_, late in seen),
    )
    assert found.lost == 0, found
    return found


def delays_ms(path, verifier):
    """Return by how much each event came later than it was committed, ms."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT body, seq, t_logged FROM events ORDER BY seq").fetchall()
    ids = [(from_body(body, seq).id, t_logged) for body, seq, t_logged in rows]
    arrived_ns = verifier.arrived_ns
    return [(arrived_ns[i] - t_logged) / 1e6 for i, t_logged in ids if i in arrived_ns]


def _quiet(verifier, for_s):
    return time.monotonic() > verifier.last_s + for_s
