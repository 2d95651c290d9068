"""Metrics for Prometheus and answers about health, over HTTP, for `[metrics]`.

    /metrics   figures, in Prometheus' formats
    /healthz   200 while every thread makes progress, else 503: restart it
    /readyz    200 while something can be recognised and kept, else 503: wait, or look at it

`hard run` serves it, with one thread named "metrics" that reads what others count and never touches
the pipeline.  A client is held to a small request, a few seconds and one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from errno import EADDRINUSE
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

import h11
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

__all__ = ["Daemon", "MonitoringError", "listening", "serving"]

MAX_REQUEST_BYTES: Final = 8192
MAX_CLIENTS: Final = 16
TIMEOUT_S: Final = 5.0
"""A client has so long from its connection to the last byte of its answer."""
JOIN_S: Final = 0.5
LATEST_STREAMS: Final = 200
"""Of more streams the rates of those are told that sent last."""
OTHER: Final = "other"

_log = logging.getLogger(__name__)


class MonitoringError(Exception):
    """The port can't be had; the message says why."""


class Daemon(Protocol):
    """What is asked of `hard.runtime.Runtime`; all of it may be called from any thread."""

    def health(self) -> dict[str, Any]:
        """Return how the daemon does."""
        ...

    def figures(self) -> dict[str, Any]:
        """Return what was done and how far behind each sink is."""
        ...

    def counts(self) -> dict[str, int]:
        """Return every counter as `part.reason`."""
        ...

    def status(self, most_streams: int) -> dict[str, Any]:
        """Return what streams are now."""
        ...

    def unhealthy(self) -> list[str]:
        """Return why it is of no more use."""
        ...

    def unready(self) -> list[str]:
        """Return why nothing can be recognised or kept now."""
        ...


# -- what is told --------------------------------------------------------------------------------


class Figures(Collector):
    """The daemon's figures as Prometheus knows them.

    The first `max_streams` streams have a name in them, all others share the name "other": a series
    for each stream that ever was would fill the disk of whoever collects.
    """

    def __init__(self, daemon: Daemon, max_streams: int) -> None:
        self._daemon = daemon
        self._max_streams = max_streams
        self._named: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, each with all its series from the start."""
        health, figures = self._daemon.health(), self._daemon.figures()
        yield InfoMetricFamily("hard", "This program.", {"version": health["version"]})
        yield _gauge("uptime_seconds", "Since the start.", health["uptime_s"])
        memory = "Memory in RAM."
        yield _gauge("resident_memory_bytes", memory, health["rss_mb"] * 1e6)
        taken = "Samples that came in, those dropped later among them."
        yield _counters("samples", taken, "sensor", figures["samples"])
        yield _counter("gaps", "Stretches without samples, and jumps of clocks.", figures["gaps"])
        yield _counter("windows", "Windows classified.", figures["windows"])
        seconds = "Time that classifying took."
        yield _counter("inference_seconds", seconds, figures["inference_s"])
        yield _counter("events", "Events decided.", figures["events"])
        yield self._counted()
        yield _gauges("streams", "Streams known, by status.", "status", figures["streams"])
        yield self._rates()
        waiting = "Events in the log that the sink has not confirmed."
        yield _gauges("backlog_events", waiting, "sink", figures["backlog"])
        age = "Age of the oldest of them."
        yield _gauges("backlog_seconds", age, "sink", figures["backlog_s"])
        yield _gauges("up", "Whether a source or a sink works.", "instance", figures["up"])
        again = "How often one was tried again, in an outage or after a bug."
        yield _counters("restarts", again, "instance", figures["restarts"])
        doubted = "Whether this machine's clock can't be believed."
        yield _gauge("clock_unsynced", doubted, health["clock_unsynced"])
        yield _gauge("ready", "As /readyz says.", not self._daemon.unready())

    def _counted(self) -> CounterMetricFamily:
        told = "What was dropped, skipped or went wrong, as hard status lists it."
        family = CounterMetricFamily("hard_counted", told, labels=["part", "reason"])
        for name, n in self._daemon.counts().items():
            part, _, reason = name.rpartition(".")
            family.add_metric([part, reason], n)
        return family

    def _rates(self) -> GaugeMetricFamily:
        told = "Samples a second over the last 5 s; of streams without a name all together."
        family = GaugeMetricFamily("hard_rate_hz", told, labels=["stream", "sensor"])
        rates: Counter[tuple[str, str]] = Counter()
        for stream in self._daemon.status(LATEST_STREAMS)["streams"]:
            name = stream["stream"]
            if len(self._named) < self._max_streams:
                self._named.add(name)
            shown = name if name in self._named else OTHER
            for sensor, rate_hz in stream["rate_hz"].items():
                rates[shown, sensor] += rate_hz
        for labels, rate_hz in rates.items():
            family.add_metric(labels, rate_hz)
        return family


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"hard_{name}", told, value=value)


def _gauges(name: str, told: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"hard_{name}", told, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, told: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"hard_{name}", told, value=value)


def _counters(name: str, told: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"hard_{name}", told, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def _sentence(status: int, text: str, **headers: str) -> _Answer:
    return _Answer(status, f"{text}\n".encode(), headers=headers)


class _Site:
    """The three pages.

    Who is on loopback is not asked for a token, so a page in a browser there must not get at them
    by a name of its own that leads to loopback: only loopback's names, and `host`, are answered.
    """

    def __init__(self, daemon: Daemon, token: str | None, max_streams: int, host: str) -> None:
        self._host = host
        self._daemon = daemon
        self._token = None if token is None else token.encode()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Figures(daemon, max_streams))

    def answer(self, request: h11.Request) -> _Answer:
        """Answer a request by its head; a bug is told to the log, not to the client."""
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        if (refusal := self._refusal(headers)) is not None:
            return refusal
        if request.method not in {b"GET", b"HEAD"}:
            return _Answer(405, headers={"Allow": "GET, HEAD"})
        match request.target.partition(b"?")[0]:
            case b"/metrics":
                encode, kind = choose_encoder(headers.get("accept", ""))
                return _Answer(200, encode(self._registry), kind)
            case b"/healthz":
                return self._judged(self._daemon.unhealthy())
            case b"/readyz":
                return self._judged(self._daemon.unready())
        return _sentence(404, "Nothing here but /metrics, /healthz and /readyz.")

    def _refusal(self, headers: Mapping[str, str]) -> _Answer | None:
        if not self._knows(headers.get("authorization", "")):
            return _Answer(401, headers={"WWW-Authenticate": "Bearer"})
        if not self._is_ours(headers.get("host", "")):
            return _sentence(421, f"Ask by localhost or {self._host}: another name may lie.")
        return None

    def _is_ours(self, asked: str) -> bool:
        """Tell whether somebody means us by the name that they asked for; "" is before HTTP/1.1."""
        if self._token is not None or not asked:
            return True
        name = _name_of(asked)
        if name in {"localhost", self._host.lower()} or name.endswith(".localhost"):
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    def _judged(self, reasons: list[str]) -> _Answer:
        body = {"ok": not reasons, "reasons": reasons, **self._daemon.health()}
        text = json.dumps(body).encode() + b"\n"
        return _Answer(503 if reasons else 200, text, "application/json")

    def _knows(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._token)
        return same and scheme.lower() == "bearer"


def _name_of(asked: str) -> str:
    """Return the name in a Host header, without its port and the brackets of an IPv6 address.

    >>> _name_of("[::1]:9464"), _name_of("LocalHost.:9464"), _name_of("evil.example")
    ('::1', 'localhost', 'evil.example')
    """
    host = asked.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


# -- the server ----------------------------------------------------------------------------------


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; raises `MonitoringError`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=MAX_CLIENTS)
    except (OSError, UnicodeError) as error:
        busy = getattr(error, "errno", None) == EADDRINUSE
        remedy = "set metrics.port to another" if busy else "is it an address of this machine?"
        raise MonitoringError(
            f"metrics can't listen on {host}:{port} ({error}): {remedy}"
        ) from error


@contextlib.contextmanager
def serving(
    listener: socket.socket,
    daemon: Daemon,
    token: str | None,
    max_streams: int,
    timeout_s: float = TIMEOUT_S,
    host: str = "localhost",
) -> Iterator[None]:
    """Serve while the block runs, then close `listener`; whoever is served then is cut off.

    `host` is what the listener was configured by.
    """
    loop = asyncio.new_event_loop()
    server = _Server(_Site(daemon, token, max_streams, host), timeout_s)
    task = loop.create_task(server.run(listener))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    thread = threading.Thread(target=run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            loop.call_soon_threadsafe(task.cancel)
        thread.join(JOIN_S)


class _Server:
    """At most so many clients, one request of each, all in one thread.

    One more takes the place of the one that has been there longest: whoever means it is done by
    then, and slow ones can't keep others out.
    """

    def __init__(self, site: _Site, timeout_s: float) -> None:
        self._site = site
        self._timeout_s = timeout_s
        self._talks: dict[asyncio.Task[None], StreamWriter] = {}  # the longest there first

    async def run(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(
            self._connected, sock=listener, limit=MAX_REQUEST_BYTES
        )  # fmt: skip
        try:
            await asyncio.get_running_loop().create_future()  # never done: only cancelled
        finally:
            server.close()
            talks = list(self._talks)
            while self._talks:
                self._part()
            await asyncio.gather(*talks, return_exceptions=True)

    def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._talks) >= MAX_CLIENTS:
            self._part()
        talk = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._talks[talk] = writer
        talk.add_done_callback(lambda done: self._talks.pop(done, None))

    def _part(self) -> None:
        """Cut off whoever has been there longest, even one whose talk has not begun yet."""
        longest = next(iter(self._talks))
        self._talks.pop(longest).transport.abort()
        longest.cancel()

    async def _talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Take one request and answer it, or part with a client that takes too long."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._exchange(reader, writer)
        except (TimeoutError, OSError):
            pass
        except Exception:  # noqa: BLE001 - a bug here must not end the thread, nor go unseen
            _log.exception("metrics: a bug: one request is not answered")
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
        whole = True
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(MAX_REQUEST_BYTES))
            if not isinstance(event, h11.Request):
                return  # it left without asking
            answer, whole = self._site.answer(event), event.method != b"HEAD"
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            answer = _sentence(status, status.phrase)
        headers = {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.body)),
            "Connection": "close",
            **answer.headers,
        }
        response = h11.Response(status_code=answer.status, headers=list(headers.items()))
        body = [h11.Data(data=answer.body)] if whole else []
        parts: list[h11.Event] = [response, *body, h11.EndOfMessage()]
        writer.transport.set_write_buffer_limits(0)  # drain() waits until everything is sent
        for part in parts:
            writer.write(http.send(part) or b"")
        await writer.drain()
        writer.write_eof()
        while await reader.read(MAX_REQUEST_BYTES):  # or closing might throw our answer away
            pass
