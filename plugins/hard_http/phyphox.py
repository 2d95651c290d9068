"""`PhyphoxSource`: the remote access of the app phyphox, polled.

The app says in `/config` which of its buffers hold which sensor and gives in `/get` what is newer
than a time.  Times are seconds since the measurement began: another machine's clock, which
conditioning maps by the time of arrival.  The runtime runs it in a thread of its own; what was
already read is remembered when the phone was away for a while.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import Field

from hard.api import (
    Declared,
    Emit,
    PluginConfig,
    SampleBatch,
    Sensor,
    Source,
    SourceUnavailable,
    Stage,
    Stop,
    Unit,
)
from hard_formats.names import safe_id
from hard_formats.receiving import first_message
from hard_http.buffers import (
    USUAL,
    Buffers,
    New,
    NoGravityError,
    Series,
    sensors_of,
    usual_sensors,
)
from hard_http.client import AwayError, TooLargeError, get
from hard_http.running import run_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 3.0
_MAX_ANSWER_BYTES = 4_194_304
_STALLED_S = 2.0
_ALLOW = (
    'open an experiment in the app, switch on "Allow remote access" in its menu, keep the screen '
    "on, and give host and port as the app shows them"
)
_OTHER = (
    'open "Acceleration with g" in the app, or make one of accelerometer and gyroscope with its +'
)


class PhyphoxConfig(PluginConfig):
    """Where the phone is and how often to ask it."""

    host: str = Field(min_length=1)
    port: int = Field(8080, ge=1, le=65535)
    stream: str | None = Field(None, min_length=1)
    poll_s: float = Field(0.25, ge=0.05, le=5.0)
    max_delay_s: float = Field(1.0, ge=0.0, le=60.0)


class PhyphoxSource(Source[PhyphoxConfig]):
    """A phone with the app phyphox, asked over HTTP (its "Allow remote access").

    It is polled; what each answer holds is emitted as one message.
    """

    Config = PhyphoxConfig

    def __init__(self, name: str, config: PhyphoxConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._session: str | None = None
        self._series: list[Series] = []
        self._measuring = True

    @property
    def _address(self) -> str:
        return f"http://{self.config.host}:{self.config.port}"

    def run(self, emit: Emit, stop: Stop) -> None:
        """Poll until `stop`; raise `SourceUnavailable` when the phone is away or has no gravity."""
        run_until(stop, self._poll(emit))

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Ask for the experiment, then wait for a sample."""
        try:
            run_until(Event(), self._begin("probed"))
            sensors = " and ".join(series.buffers.sensor for series in self._series)
            yield Stage("phone", True, f"the experiment at {self._address} has {sensors}")
            message = first_message(self.run, timeout_s)
        except SourceUnavailable as error:
            yield Stage("sample" if self._series else "phone", False, str(error), "see above")
            return
        if message is None:
            yield Stage("sample", None, f"none within {timeout_s:g} s", "press play in the app")
        else:
            yield Stage("sample", True, f"samples of stream {message[0].stream!r} came")

    async def _poll(self, emit: Emit) -> None:
        while True:
            began_s = time.monotonic()
            await self._poll_once(emit)
            await asyncio.sleep(max(0.0, self.config.poll_s - (time.monotonic() - began_s)))

    async def _poll_once(self, emit: Emit) -> None:
        query: dict[str, str] = {}
        for series in self._series:
            query |= series.query()
        try:
            answer = await self._get("/get", query)
        except TooLargeError:
            self.skip("too_large", f"what piled up is over {_MAX_ANSWER_BYTES} bytes: left out")
            self._series = [replace(series, asks_last=True) for series in self._series]
            return
        except LookupError as error:
            raise self._no_phyphox("it has no /get") from error
        t_received_ns = time.time_ns()
        status, buffers = answer.get("status"), answer.get("buffer")
        if type(status) is not dict or type(status.get("session")) is not str:
            raise self._no_phyphox("/get tells no session")
        if status["session"] != self._session:
            await self._begin(status["session"])
            return
        self._tell_measuring(measuring=status.get("measuring") is True)
        message = self._message(buffers, t_received_ns)
        if message:
            emit(message)

    async def _begin(self, session: str) -> None:
        """Learn which buffers the experiment of a session has."""
        self._session, self._series = None, []
        try:
            found = await self._sensors()
        except NoGravityError as error:
            raise SourceUnavailable(f"phyphox at {self._address}: {error}; {_OTHER}") from error
        except (ValueError, LookupError, TooLargeError) as error:
            raise self._no_phyphox(f"it tells nothing of its sensors: {error!r}") from error
        self._session, self._series = session, [Series(buffers) for buffers in found]
        sensors = " and ".join(buffers.sensor for buffers in found)
        self.log.info("%s: phyphox at %s has %s", self.name, self._address, sensors)

    async def _sensors(self) -> list[Buffers]:
        try:
            return sensors_of(await self._get("/config", {}))
        except LookupError:  # a version of the app without it
            names = {name: "" for buffers in USUAL for name in buffers.query(None)}
            answer = await self._get("/get", names)
            return usual_sensors(answer.get("buffer"))

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """Return the JSON object at `path`; raise LookupError when the phone has no such path."""
        fields = (quote(k) + (f"={quote(value)}" if value else "") for k, value in query.items())
        target = "?".join(filter(None, (path, "&".join(fields))))
        host, port = self.config.host, self.config.port
        try:
            status, body = await get(
                host, port, target, max_bytes=_MAX_ANSWER_BYTES, timeout_s=_TIMEOUT_S
            )
        except AwayError as error:
            raise SourceUnavailable(f"no phyphox at {self._address} ({error}): {_ALLOW}") from error
        if status == 404:
            raise LookupError(path)
        try:
            answer = json.loads(body, parse_int=float)
        except (ValueError, RecursionError) as error:
            raise self._no_phyphox(f"{path} is not JSON: {body[:80]!r}") from error
        if status != 200 or type(answer) is not dict:
            raise self._no_phyphox(f"{path} gives status {status} and {body[:80]!r}")
        return answer

    def _message(self, buffers: object, t_received_ns: int) -> list[SampleBatch]:
        message = []
        now_s = time.monotonic()
        for series in self._series:
            try:
                new = series.take(buffers)
            except ValueError as error:
                raise self._no_phyphox(str(error)) from error
            if new.unusable:
                self.skip("not_finite", f"{new.unusable} samples without a number", new.unusable)
            if len(new.t):
                series.heard_s = now_s
                message.append(self._batch(series.buffers.sensor, new, t_received_ns))
            elif now_s - series.heard_s > _STALLED_S:  # cleared, and we were told nothing?
                series.heard_s, series.asks_last = now_s, True
        return message

    def _batch(self, sensor: Sensor, new: New, t_received_ns: int) -> SampleBatch:
        unit: Unit = "rad/s" if sensor == "gyro" else "m/s2"
        declared = Declared(unit, 1, self.config.max_delay_s, clock="device")
        stream = safe_id(self.config.stream or self.name)
        return SampleBatch(stream, sensor, new.t, new.values, declared, t_received_ns)

    def _tell_measuring(self, *, measuring: bool) -> None:
        if self._measuring and not measuring:
            self.log.warning(
                "%s: phyphox at %s is not measuring: press play in the app (said once)",
                self.name,
                self._address,
            )
        self._measuring = measuring

    def _no_phyphox(self, why: str) -> SourceUnavailable:
        return SourceUnavailable(
            f"what answers at {self._address} is not phyphox's remote access ({why}): are host and "
            "port those that the app shows?"
        )
