"""Events to a URL of your own: `WebhookSink`.

How a request is made stands in `hard_delivery.posting`, what a refusal means in
`hard_delivery.outbound`.  It shows no state.  The runtime finds it through its entry point.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Final

from pydantic import Field

from hard.api import Confirm, Event, Sink, SinkUnavailable, Stage
from hard_delivery.outbound import Outbound
from hard_delivery.posting import Answer, Poster, UrlConfig, token_of
from hard_formats.credentials import open_to_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["WebhookSink", "WebhookSinkConfig"]

_MIN_SECRET_CHARACTERS: Final = 16


class WebhookSinkConfig(UrlConfig):
    """Where to post events, how they are signed, how many go in one request."""

    secret_file: str | None = None
    token_file: str | None = None
    batch: int = Field(1, ge=1, le=100)


class WebhookSink(Sink[WebhookSinkConfig]):
    """Events as JSON to a URL of your own, signed, each until it was taken.

    An event is confirmed by an answer of 2xx.
    """

    Config = WebhookSinkConfig

    def __init__(self, name: str, config: WebhookSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._poster: Poster | None = None
        self._secret: bytes | None = None
        self._headers: dict[str, str] = {}
        self._outbound = Outbound(
            self._send, self.skip, batch=config.batch, timeout_s=config.timeout_s
        )
        self._warned = False

    def open(self) -> None:
        """Read the secrets and connect once; raise `SinkUnavailable` where that fails."""
        self._warn()
        self._outbound.open()
        config = self.config
        self._headers = {"Content-Type": "application/json"}
        if config.token_file is not None:
            self._headers["Authorization"] = f"Bearer {token_of('token_file', config.token_file)}"
        self._secret = None if config.secret_file is None else _secret(config.secret_file)
        self._poster = Poster(config.endpoint, config)
        self._poster.reach()

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Post them, one after the other or a batch at a time, for 10 s at most."""
        self._outbound.take(events, confirm)

    def check(self) -> None:
        """Post what is left, what was refused once more."""
        self._outbound.go()

    def drain(self, timeout_s: float) -> None:
        """Post what is left, as far as the time goes."""
        self._outbound.drain(timeout_s)

    def close(self) -> None:
        """Forget the secrets; no connection is ever left open."""
        self._poster = self._secret = None
        self._headers = {}

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Connect, as far as TLS; nothing is posted."""
        del timeout_s  # configured
        yield from Poster(self.config.endpoint, self.config).probe()

    def _send(self, events: Sequence[Event]) -> Answer:
        if self._poster is None:
            raise SinkUnavailable("not open")
        now_ns = time.time_ns()
        bodies = [event.delivered(now_ns) for event in events]
        shown = bodies[0] if self.config.batch == 1 else bodies
        body = json.dumps(shown, allow_nan=False, separators=(",", ":")).encode()
        headers = dict(self._headers)
        if self._secret is not None:
            stamp = str(int(time.time()))
            signed = hmac.new(self._secret, f"{stamp}.".encode() + body, hashlib.sha256)
            headers |= {"Hard-Timestamp": stamp, "Hard-Signature": f"sha256={signed.hexdigest()}"}
        return self._poster.post(body, headers)

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        config = self.config
        if config.endpoint.is_readable_by_others:
            self.log.warning(
                "%s: events to %s are not encrypted: whoever shares the network can read them; "
                "use https",
                *(self.name, config.endpoint.address),
            )
        for key in ("secret_file", "token_file"):
            if told := open_to_others(key, getattr(config, key)):
                self.log.warning("%s: %s", self.name, told)


def _secret(name: str) -> bytes:
    secret = token_of("secret_file", name)
    if len(secret) < _MIN_SECRET_CHARACTERS:
        raise SinkUnavailable(
            f"secret_file {name!r}: a secret of fewer than {_MIN_SECRET_CHARACTERS} characters can "
            "be guessed: write a longer one, openssl rand -hex 32 makes it"
        )
    return secret.encode()
