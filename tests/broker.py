"""A real mosquitto of one's own on a free port, and a client to look through: for tests only."""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

MOSQUITTO = Path("/usr/sbin/mosquitto")
_TIMEOUT_S = 10.0
_FIRST_PORT, _OUTGOING_PORT = 20_000, 32_768  # from there on Linux gives them to connections
_LOG = "connection_messages false"  # nobody reads the log once it runs


class Broker:
    """`start` it, `kill` it, `freeze` it; `login` closes it to all but one user."""

    def __init__(self, folder: Path) -> None:
        assert MOSQUITTO.exists(), "these tests need a broker: apt-get install mosquitto"
        self.port = free_port()
        self._folder = folder
        self._lines = [f"listener {self.port} 127.0.0.1", "user root", _LOG]
        self._access = ["allow_anonymous true"]
        self._process: subprocess.Popen[str] | None = None
        self._watchers: list[Watcher] = []

    def login(self, user: str, password: str, acl: str = "topic readwrite #") -> None:
        """From the next start, only `user` may log in, with the rights of these ACL lines."""
        passwords, rights = self._folder / "passwords", self._folder / "acl"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", passwords, user, password], check=True)
        rights.write_text(f"topic readwrite watch/#\n\nuser {user}\n{acl}\n")
        rights.chmod(0o600)
        self._access = [
            "allow_anonymous false",
            f"password_file {passwords}",
            f"acl_file {rights}",
        ]

    def rights(self, user: str, acl: str) -> None:
        """Give `user` other rights, at once."""
        rights = self._folder / "acl"
        rights.write_text(f"topic readwrite watch/#\n\nuser {user}\n{acl}\n")
        self._process.send_signal(signal.SIGHUP)

    def limit_packets(self, max_bytes: int) -> None:
        """From the next start, end the connection of whoever sends a larger packet."""
        self._lines.append(f"max_packet_size {max_bytes}")

    def keep_sessions(self) -> None:
        """From the next start, keep what sessions are owed, and on disk by `save`."""
        self._lines += [
            "persistence true",
            f"persistence_location {self._folder}/",
            # Not 0, no limit: 2.0.11 then ends the connection of whoever it denies a topic.
            "max_queued_messages 100000",
            "max_inflight_messages 0",
        ]

    def listen_on(self, address: str) -> None:
        """From the next start, be at another address of this machine too, on the same port."""
        self._lines.insert(0, f"listener {self.port} {address}")

    def save(self) -> None:
        """Let it write sessions to disk now; return once that is done."""
        store, before = self._folder / "mosquitto.db", _changed_ns(self._folder / "mosquitto.db")
        self._process.send_signal(signal.SIGUSR1)
        end_s = time.monotonic() + _TIMEOUT_S
        while _changed_ns(store) == before:
            assert time.monotonic() < end_s, "mosquitto saved nothing"
            time.sleep(0.02)

    def stop(self) -> None:
        """As an orderly restart would begin."""
        self._process.terminate()
        self._process.wait(_TIMEOUT_S)
        self._process.stderr.close()

    def use(self, lines: list[str]) -> None:
        """From the next start, be configured by these lines, listeners and access included."""
        self._lines, self._access = ["user root", _LOG, *lines], []

    def start(self) -> None:
        config = self._folder / "mosquitto.conf"
        config.write_text("\n".join((*self._lines, *self._access, "")))
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", config], stderr=subprocess.PIPE, text=True, bufsize=1
        )
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "running" in line:
                return
        raise AssertionError(f"mosquitto did not start: {said}")

    def kill(self) -> None:
        """As a crash or the OOM killer would."""
        self._process.kill()
        self._process.wait(_TIMEOUT_S)
        self._process.stderr.close()

    def freeze(self) -> None:
        """Keep every connection open and answer nothing more."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def watch(self, topics: str, **login: str) -> Watcher:
        """Return a client that has subscribed to `topics`."""
        watcher = Watcher(self.port, topics, **login)
        self._watchers.append(watcher)
        return watcher

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()


class Watcher:
    """Sees what a subscriber sees, and publishes as another client would."""

    def __init__(
        self, port: int, topics: str, username: str | None = None, password: str | None = None
    ) -> None:
        self._seen: queue.SimpleQueue = queue.SimpleQueue()
        subscribed: queue.SimpleQueue = queue.SimpleQueue()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            f"watcher-{os.urandom(4).hex()}",
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        if username:
            client.username_pw_set(username, password)
        client.on_connect = lambda c, *_: c.subscribe(topics, qos=1)
        client.on_subscribe = lambda *_: subscribed.put(True)
        client.on_message = lambda _c, _d, m: self._take(m)
        self.correlation: bytes | None = None
        client.connect("127.0.0.1", port)
        client.loop_start()
        subscribed.get(timeout=_TIMEOUT_S)

    def _take(self, message: MQTTMessage) -> None:
        self.correlation = getattr(message.properties, "CorrelationData", None)
        self._seen.put((message.topic, message.payload, message.retain))

    def next(self, timeout_s: float = _TIMEOUT_S) -> tuple[str, bytes, bool]:
        """Return topic, payload and retain flag of the next message."""
        return self._seen.get(timeout=timeout_s)

    def all_seen(self) -> list[tuple[str, bytes, bool]]:
        """Return what came up to now; a message to itself marks the end."""
        mark = f"watch/{os.urandom(4).hex()}"
        self._client.subscribe(mark, qos=1)
        self.publish(mark, b"")
        seen = []
        while (message := self.next())[0] != mark:
            seen.append(message)
        return seen

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        sent = self._client.publish(topic, payload, qos, retain, properties)
        sent.wait_for_publish(_TIMEOUT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # else paho leaves them to the garbage collector


def _changed_ns(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def free_port() -> int:
    """Return a port of this machine that nobody listens on, and no outgoing connection is given.

    Who tries again and again to reach a broker that is away would else be given its port one day.
    """
    while True:
        port = random.SystemRandom().randrange(_FIRST_PORT, _OUTGOING_PORT)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
