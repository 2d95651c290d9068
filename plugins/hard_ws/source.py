"""`WsSource`: the sensors of one phone, as the Android app SensorServer streams them.

It connects and hands on; what a message means stands in `hard_formats.messages`.  Each message of
the app is one sample, so what comes within 50 ms is emitted as one message.  The runtime runs it
in a thread of its own and calls `run` again after `SourceUnavailable`; websockets reads and pings
in threads of its own, which end with `run`.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlsplit

import numpy as np
from pydantic import Field, model_validator
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

from hard.api import (
    Emit,
    Found,
    PluginConfig,
    SampleBatch,
    Source,
    SourceUnavailable,
    Stage,
    Stop,
)
from hard_formats.messages import Options, Refused, decode
from hard_formats.receiving import first_message, read
from hard_ws.discovery import services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

_CONNECT_TIMEOUT_S = 3.0
_CLOSE_TIMEOUT_S = 0.2
_WAIT_S = 0.2
_TOGETHER_S = 0.05
_TOO_BIG = 1009
_ACCELEROMETER = "android.sensor.accelerometer"
_PARTS = {"android.sensor.linear_acceleration", "android.sensor.gravity"}
_REMEDIES = {
    4001: "take the sensor that this phone has not out of sensors",
    4004: "press Start in the app",
    4005: "the user closed the connection in the app",
    _TOO_BIG: "a message was over max_payload_bytes",
}
"""By the code with which the connection was closed; those from 4000 on are SensorServer's own."""


class WsConfig(PluginConfig):
    """Which phone, which of its sensors."""

    url: str | None = Field(None, pattern=r"^wss?://[!-~]+$")
    host: str | None = Field(None, min_length=1)
    port: int = Field(8080, ge=1, le=65535)
    sensors: list[str] = Field(default=[_ACCELEROMETER, "android.sensor.gyroscope"], min_length=2)
    stream: str | None = Field(None, min_length=1)
    keepalive_s: float = Field(10.0, ge=0.5, le=3600.0)
    max_payload_bytes: int = Field(65_536, ge=1024, le=16_777_216)
    max_delay_s: float = Field(1.0, ge=0.0, le=60.0)

    @model_validator(mode="after")
    def _one_phone_with_gravity(self) -> Self:
        if (self.url is None) == (self.host is None):
            raise ValueError("set either host (and port, sensors) or the whole url, one of them")
        if _ACCELEROMETER not in self.sensors and not set(self.sensors) >= _PARTS:
            raise ValueError(f"sensors must hold {_ACCELEROMETER!r}, which includes gravity")
        return self

    @property
    def address(self) -> str:
        """The whole URL."""
        if self.url is not None:
            return self.url
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host
        types = quote(json.dumps(self.sensors, separators=(",", ":")))
        return f"ws://{host}:{self.port}/sensors/connect?types={types}"

    @property
    def options(self) -> Options:
        """The part that decoding needs."""
        return Options(
            format="android",
            max_delay_s=self.max_delay_s,
            max_payload_bytes=self.max_payload_bytes,
        )


class WsSource(Source[WsConfig]):
    """An Android phone with the app SensorServer, over a WebSocket.

    The stream has the name of the instance unless configured.
    """

    Config = WsConfig

    def __init__(self, name: str, config: WsConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._options = config.options

    def run(self, emit: Emit, stop: Stop) -> None:
        """Listen until `stop`; raise `SourceUnavailable` when the phone refuses or goes away."""
        with self._connected() as connection:
            self.log.info("%s: connected to %s", self.name, self._shown)
            try:
                while not stop.is_set():
                    message = self._together(connection)
                    if message:
                        emit(message)
            except ConnectionClosed as error:
                raise SourceUnavailable(self._explain(error)) from error

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Reach the port, speak WebSocket, wait for a sample."""
        step = "port"
        try:
            self._reach()
            yield Stage(step, True, f"{self._shown} can be reached")
            step = "websocket"
            with self._connected():
                pass
            yield Stage(step, True, f"{self._shown} speaks WebSocket")
            step = "sample"
            message = first_message(self.run, timeout_s)
        except SourceUnavailable as error:
            yield Stage(step, False, str(error), "see above")
            return
        if message is not None:
            yield Stage(step, True, f"samples of stream {message[0].stream!r} came")
        elif self.counts:
            yield Stage(step, False, f"nothing usable came: {dict(self.counts)}", "see the log")
        else:
            yield Stage(step, None, f"none within {timeout_s:g} s", "is the phone asleep?")

    @classmethod
    def scan(cls, timeout_s: float) -> Iterator[Found]:
        """Look for phones that announce a WebSocket by mDNS (`_websocket._tcp`)."""
        for name, host, port in services(timeout_s):
            settings = {"plugin": "ws", "host": host, "port": port}
            yield Found(f"{host}:{port}", f"WebSocket server {name!r}", settings)

    @property
    def _shown(self) -> str:
        """The address without what may be secret in it."""
        parts = urlsplit(self.config.address)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or parts.scheme}"

    def _reach(self) -> None:
        parts = urlsplit(self.config.address)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        try:
            socket.create_connection((str(parts.hostname), port), _CONNECT_TIMEOUT_S).close()
        except (OSError, UnicodeError) as error:
            raise self._away(error) from error

    @contextmanager
    def _connected(self) -> Iterator[ClientConnection]:
        config = self.config
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(
                    connect(
                        config.address,
                        compression=None,  # costs the phone more than a local network saves
                        proxy=None,
                        open_timeout=_CONNECT_TIMEOUT_S,
                        close_timeout=_CLOSE_TIMEOUT_S,
                        ping_interval=config.keepalive_s,
                        ping_timeout=config.keepalive_s,
                        max_size=config.max_payload_bytes,
                    )
                )
            # AssertionError: websockets 17 meets an answer that came before the question with it
            except (WebSocketException, AssertionError) as error:
                raise SourceUnavailable(
                    f"what answers at {self._shown} is no WebSocket of SensorServer "
                    f"({error!r}): are address and port those that the app shows?"
                ) from error
            except (OSError, UnicodeError) as error:
                raise self._away(error) from error
            yield connection

    def _away(self, error: Exception) -> SourceUnavailable:
        return SourceUnavailable(
            f"no phone at {self._shown} ({error}): press Start in SensorServer, keep the phone in "
            "the same network, and give host and port as the app shows them"
        )

    def _explain(self, error: ConnectionClosed) -> str:
        close = error.rcvd or error.sent
        if close is None:
            return f"lost the phone at {self._shown}: the connection broke"
        if close.code == _TOO_BIG:
            self.skip("too_large", f"over max_payload_bytes = {self.config.max_payload_bytes}")
        remedy = _REMEDIES.get(close.code, "is it still in the network, and awake?")
        return f"the connection to {self._shown} ended ({close.code}, {close.reason!r}): {remedy}"

    def _together(self, connection: ClientConnection) -> list[SampleBatch]:
        """Wait up to 0.2 s for a message, then 50 ms for more; return their samples by sensor."""
        by_sensor: dict[str, list[SampleBatch]] = {}
        end_s = time.monotonic() + _WAIT_S
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                payload = connection.recv(timeout=left_s, decode=False)
            except TimeoutError:
                break
            except ConnectionClosed:
                if by_sensor:  # first what arrived; the next call ends
                    break
                raise
            if not by_sensor:
                end_s = min(end_s, time.monotonic() + _TOGETHER_S)
            for part in self._decoded(payload):
                by_sensor.setdefault(part.sensor, []).append(part)
        return [_joined(parts) for parts in by_sensor.values()]

    def _decoded(self, payload: bytes) -> list[SampleBatch]:
        decoded = read(
            lambda: decode(
                payload,
                self._options,
                named=self.config.stream or self.name,
                t_received_ns=time.time_ns(),
            ),
            self._shown,
            self.skip,
        )
        if isinstance(decoded, Refused):
            return []
        return [part for part in decoded.message if isinstance(part, SampleBatch)]


def _joined(parts: list[SampleBatch]) -> SampleBatch:
    """Return one batch of several of one sensor; it arrived when the last of them did."""
    t = np.concatenate([part.t for part in parts])
    values = np.concatenate([part.values for part in parts])
    return replace(parts[-1], t=t, values=values)
