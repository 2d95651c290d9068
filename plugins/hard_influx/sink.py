"""`InfluxSink`: where the points go, and who we are there."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from hard.api import Confirm, Event, Sink, SinkUnavailable, Stage
from hard_delivery.lines import FilePath, LineFile, RotationConfig
from hard_delivery.outbound import Outbound
from hard_delivery.posting import Answer, Endpoint, Poster, PostingConfig, check_url, token_of
from hard_formats.credentials import open_to_others
from hard_influx.points import event_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class InfluxSinkConfig(PostingConfig, RotationConfig):
    """Which server, which database or bucket of it, or which file instead."""

    url: str | None = None
    database: str | None = Field(None, min_length=1)
    username: str | None = None
    password_file: str | None = None
    org: str | None = Field(None, min_length=1)
    bucket: str | None = Field(None, min_length=1)
    token_file: str | None = None
    path: FilePath | None = None
    measurement: str = Field("hard", pattern=r"^[A-Za-z0-9_.-]+$")
    tags: dict[str, str] = Field(default={})
    batch: int = Field(100, ge=1, le=100)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.url is None) == (self.path is None):
            raise ValueError("give either url, of the server, or path, of a file")
        if self.url is None:
            return self
        check_url(self.url, self.ca_file)
        if (self.database is None) == (self.bucket is None):
            raise ValueError("give either database (InfluxDB 1) or bucket (InfluxDB 2)")
        if self.bucket is not None and (self.org is None or self.token_file is None):
            raise ValueError("bucket needs org and token_file")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together")
        return self

    @property
    def endpoint(self) -> Endpoint:
        """Where points are written to, below `url`."""
        if self.bucket is None:
            path, query = "write", {"db": self.database, "precision": "ns"}
        else:
            path = "api/v2/write"
            query = {"org": self.org, "bucket": self.bucket, "precision": "ns"}
        return Endpoint.of(f"{(self.url or '').rstrip('/')}/{path}?{urlencode(query)}")


class InfluxSink(Sink[InfluxSinkConfig]):
    """Events as points of InfluxDB 1 or 2, over HTTP or in a file for Telegraf.

    An event is confirmed when the server has taken its point, or when it is on the disk.
    """

    Config = InfluxSinkConfig

    def __init__(self, name: str, config: InfluxSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._file = None if config.path is None else LineFile(config.path, config, self.skip)
        self._poster: Poster | None = None
        self._headers: dict[str, str] = {}
        self._outbound = Outbound(
            self._send, self.skip, batch=config.batch, timeout_s=config.timeout_s
        )
        self._warned = False

    def open(self) -> None:
        """Open the file, or read the secrets and connect once."""
        if self._file is not None:
            self._file.open()
            return
        self._warn()
        self._outbound.open()
        self._headers = {"Content-Type": "text/plain; charset=utf-8"} | self._login()
        self._poster = Poster(self.config.endpoint, self.config)
        self._poster.reach()

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Write a point of each event."""
        if self._file is None:
            self._outbound.take(events, confirm)
        elif events:
            self._file.append(self._lines(events))
            for event in events:
                if event.seq is not None:
                    confirm(event.seq)

    def check(self) -> None:
        """Post what is left; tend the file."""
        if self._file is None:
            self._outbound.go()
        else:
            self._file.tend()

    def drain(self, timeout_s: float) -> None:
        """Post what is left, as far as the time goes."""
        if self._file is None:
            self._outbound.drain(timeout_s)

    def close(self) -> None:
        """Close the file, forget the secrets; no connection is ever left open."""
        if self._file is not None:
            self._file.close()
        self._poster, self._headers = None, {}

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Connect, as far as TLS; nothing is written."""
        del timeout_s  # configured
        if self._file is None:
            yield from Poster(self.config.endpoint, self.config).probe()

    def _lines(self, events: Sequence[Event]) -> bytes:
        tags = {"node": self.node, **self.config.tags}
        lines = (event_line(event, self.config.measurement, tags) + "\n" for event in events)
        return "".join(lines).encode()

    def _send(self, events: Sequence[Event]) -> Answer:
        if self._poster is None:
            raise SinkUnavailable("not open")
        return self._poster.post(self._lines(events), self._headers)

    def _login(self) -> dict[str, str]:
        config = self.config
        if config.token_file is not None:
            return {"Authorization": f"Token {token_of('token_file', config.token_file)}"}
        if config.username is None or config.password_file is None:
            return {}
        both = f"{config.username}:{token_of('password_file', config.password_file)}"
        return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        if self.config.endpoint.is_readable_by_others:
            self.log.warning(
                "%s: points to %s are not encrypted: whoever shares the network can read them; "
                "use https",
                *(self.name, self.config.endpoint.address),
            )
        for key in ("password_file", "token_file"):
            if told := open_to_others(key, getattr(self.config, key)):
                self.log.warning("%s: %s", self.name, told)
