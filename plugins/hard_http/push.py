"""`HttpSource`: Sensor Logger's HTTP push, and the same JSON from any other sender.

What a message means stands in `hard_formats.messages`, how HTTP is spoken in `server`; here is who
may send, and what a sender is told.  The runtime runs it in a thread of its own, which also
answers the requests.
"""

from __future__ import annotations

import hmac
import re
import socket
import time
from errno import EACCES, EADDRINUSE
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import parse_qsl, unquote

from pydantic import AfterValidator, Field, model_validator

from hard.api import Emit, SampleBatch, Source, SourceUnavailable, Stage, Stop
from hard_formats.credentials import CredentialError, first_line, open_to_others
from hard_formats.messages import Decoded, Refused, decode
from hard_formats.receiving import FAULTS, ReceivingConfig, Reception, first_message
from hard_http.addresses import reachable
from hard_http.running import run_until
from hard_http.server import Answer, Head, Limits, serve

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from hard.api import Sensor

_STREAM_LEVEL = "{stream}"
_MIN_TOKEN_CHARACTERS = 16
_TOKEN = re.compile(rf"[!-~]{{{_MIN_TOKEN_CHARACTERS},512}}")
_BACKLOG = 128
_TOGETHER_S = 5.0
"""Sensors of one stream that were heard within this time count as sent together."""

NO_GRAVITY = (
    "Switch on Gravity beside Accelerometer in Sensor Logger (on Android Total Acceleration will "
    "do): without gravity sitting, standing and lying look the same."
)
NO_ACCELEROMETER = (
    "Switch on Accelerometer and Gravity in Sensor Logger (on Android Total Acceleration will do): "
    "the message holds no acceleration that can be used."
)
_STATUSES = {"not_allowed": 403, "too_many_streams": 403, "too_fast": 429, "undecodable": 500}


def _checked_path(path: str) -> str:
    levels = path.split("/")
    named = levels.count(_STREAM_LEVEL)
    if not re.fullmatch(r"/[!-~]*", path) or re.search(r"[?#%]", path):
        raise ValueError("it must begin with / and hold no space, ?, # or %")
    if named > 1 or path.count("{") != named:
        raise ValueError(f"{_STREAM_LEVEL} must be a whole level, and only once")
    return path


class HttpConfig(ReceivingConfig):
    """Where to listen, who may send, and what the messages do not say about themselves."""

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8080, ge=1, le=65535)
    path: Annotated[str, AfterValidator(_checked_path)] = "/"
    token_file: str | None = None
    max_streams: int = Field(100, ge=1)
    max_payload_bytes: int = Field(1_048_576, ge=1024, le=16_777_216)
    max_connections: int = Field(32, ge=1, le=512)
    timeout_s: float = Field(30.0, ge=0.1, le=3600.0)

    @model_validator(mode="after")
    def _guarded_beyond_loopback(self) -> Self:
        if self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached by others: set token_file, the file with the "
                'token that the phone sends, or host = "127.0.0.1"'
            )
        return self

    @property
    def address(self) -> str:
        """Host and port for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def limits(self) -> Limits:
        """The part that the server needs."""
        return Limits(self.max_payload_bytes, self.max_connections, self.timeout_s)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`; other names than localhost are not asked.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "pi.local")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSource(Source[HttpConfig]):
    """Phones that push over HTTP: Sensor Logger, and whatever POSTs the same or a plain JSON.

    Each message's samples are emitted as one message.
    """

    Config = HttpConfig

    def __init__(self, name: str, config: HttpConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self.reception = Reception(config, self.skip)
        self._warned = False

    def expect(self, streams: Sequence[str]) -> None:
        """Let streams that are known from before come in first."""
        self.reception.expect(streams)

    def run(self, emit: Emit, stop: Stop) -> None:
        """Listen until `stop`; raise `SourceUnavailable` when port or token can't be had."""
        self._warn()
        token = read_token(self.config.token_file)
        with listen(self.config) as listener:
            self.log.info("%s: listening on http://%s", self.name, self.config.address)
            self._serve(listener, token, emit, stop)

    def advice(self) -> Iterator[tuple[str, str]]:
        """Yield what may surprise in what messages do not say about themselves."""
        return self.config.advice()

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Read the token, listen, and wait for a message."""
        config = self.config
        try:
            token = read_token(config.token_file)
            if token is not None:
                yield Stage("token", True, f"{config.token_file!r} holds a token")
            listener = listen(config)
        except SourceUnavailable as error:
            yield Stage("listen", False, str(error), "see above; then run this again")
            return
        with listener:
            yield Stage("listen", True, f"listening on http://{config.address}")
            message = first_message(
                lambda emit, stop: self._serve(listener, token, emit, stop), timeout_s
            )
        if message is not None:
            yield Stage("message", True, f"a message of stream {message[0].stream!r} came")
        elif self.counts:
            yield Stage(
                "message", False, f"nothing usable came: {dict(self.counts)}", "see the log"
            )
        else:
            hosts = reachable(config.host)
            urls = " or ".join(f"http://{host}:{config.port}{config.path}" for host in hosts)
            remedy = f"start a recording in Sensor Logger, with HTTP push on and {urls} as its URL"
            yield Stage("message", None, f"nothing came within {timeout_s:g} s", remedy)

    def _serve(self, listener: socket.socket, token: bytes | None, emit: Emit, stop: Stop) -> None:
        run_until(stop, serve(listener, _Desk(self, token, emit), self.config.limits))

    def _warn(self) -> None:
        config = self.config
        if self._warned:
            return
        self._warned = True
        if not is_loopback(config.host):
            self.log.warning(
                "%s: HTTP on %s is not encrypted: whoever shares the network can read motion data "
                "and token; keep it to a network you trust or put a TLS proxy before it",
                self.name,
                config.address,
            )
        if (insecurity := open_to_others("token_file", config.token_file)) is not None:
            self.log.warning("%s: %s", self.name, insecurity)


def read_token(token_file: str | None) -> bytes | None:
    """Return the first line of a file if it makes a token."""
    if token_file is None:
        return None
    try:
        token = first_line("token_file", token_file).strip()
    except CredentialError as error:
        raise SourceUnavailable(str(error)) from error
    if not _TOKEN.fullmatch(token):
        raise SourceUnavailable(
            f"token_file {token_file!r}: its first line must be at least {_MIN_TOKEN_CHARACTERS} "
            "printable ASCII characters without spaces, such as `openssl rand -hex 16` makes"
        )
    return token.encode()


def listen(config: HttpConfig) -> socket.socket:
    """Return the listening socket; raise `SourceUnavailable` with what is in the way."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        remedy = {
            EADDRINUSE: "another program or another source listens there: set another port",
            EACCES: "ports below 1024 are for root: set port to 1024 or more",
        }.get(number or 0, "is host an address of this machine?")
        raise SourceUnavailable(
            f"can't listen on port {config.port} of {config.host!r} ({error}): {remedy}"
        ) from error


class _Desk:
    """The `Site` of one run: lets requests in, hands samples on, says what a sender lacks."""

    def __init__(self, source: HttpSource, token: bytes | None, emit: Emit) -> None:
        self._source, self._token, self._emit = source, token, emit
        self._config = source.config
        self._heard: dict[str, dict[Sensor, float]] = {}  # stream -> sensor -> monotonic s
        levels = (
            "(?P<stream>[^/]+)" if level == _STREAM_LEVEL else re.escape(level)
            for level in source.config.path.split("/")
        )
        self._path = re.compile("/".join(levels))

    def turned_away(self, reason: str, detail: str) -> None:
        """Count what never became a message."""
        self._source.skip(reason, detail)

    def refuse(self, head: Head) -> Answer | None:
        """Judge token, path, method and type; nothing of the request is logged but its sender."""
        if not self._knows(head):
            self.turned_away("unauthorized", f"{head.peer} sent no token, or a wrong one")
            return Answer(401, "Wrong or missing token.", (("WWW-Authenticate", "Bearer"),))
        if not self._path.fullmatch(head.path):
            self.turned_away("not_found", f"{head.peer} asked for another path than ours")
            return Answer(404, f"Nothing here: the path is {self._config.path}")
        if head.method != "POST":
            self.turned_away("bad_method", f"{head.peer} sent {head.method!r}, not POST")
            return Answer(405, "POST it.", (("Allow", "POST"),))
        # A web page can make a browser post here, but not with this type unless we allowed it.
        if head.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            self.turned_away("bad_type", f"{head.peer} sent another type than application/json")
            return Answer(415, "Send it as application/json.")
        return None

    def take(self, head: Head, body: bytes) -> Answer:
        """Decode, emit, and answer 200, or 499 with the sentence that the app shows."""
        match = self._path.fullmatch(head.path)
        named = match.groupdict().get("stream") if match else None
        now_s = time.monotonic()
        taken = self._source.reception.take(
            lambda: decode(
                body,
                self._config,
                named=unquote(named) if named else None,
                fallback=self._source.name,
                t_received_ns=time.time_ns(),
            ),
            head.peer,
            now_s,
        )
        if isinstance(taken, Refused):
            return Answer(_STATUSES.get(taken.reason, 499), f"hard can't take this: {taken}.")
        if taken.message:
            self._emit(taken.message)
        return self._verdict(taken, now_s)

    def _knows(self, head: Head) -> bool:
        if self._token is None:
            return True
        scheme, _, given = head.headers.get("authorization", "").partition(" ")
        offered = [given.strip()] if scheme.lower() == "bearer" else []
        try:
            query = parse_qsl(head.query, max_num_fields=16)
        except ValueError:  # more fields than that
            query = []
        offered += [value for name, value in query if name == "token"]
        same = [hmac.compare_digest(each.encode(), self._token) for each in offered]
        return any(same)

    def _verdict(self, taken: Decoded, now_s: float) -> Answer:
        sensors = self._heard_of(taken, now_s)
        lacking = _lacking(sensors)
        if lacking is None or taken.is_empty:
            return Answer(200, "") if taken.beside is None else Answer(499, _misnamed(taken))
        if taken.skipped["unit_unknown"] or _lacking(sensors | taken.sent) is None:
            return Answer(499, _faults(taken.skipped))
        reason, missing = lacking
        self.turned_away(reason, f"stream {taken.stream!r}: {missing}")
        return Answer(499, missing)

    def _heard_of(self, taken: Decoded, now_s: float) -> set[Sensor]:
        """Return the sensors of which usable samples came lately, this message's among them."""
        heard = self._heard.pop(taken.stream, {})  # put back last: the idlest stream is the first
        if len(self._heard) >= self._config.max_streams:
            del self._heard[next(iter(self._heard))]
        self._heard[taken.stream] = heard
        heard |= {part.sensor: now_s for part in taken.message if isinstance(part, SampleBatch)}
        return {sensor for sensor, at_s in heard.items() if now_s - at_s <= _TOGETHER_S}


def _lacking(sensors: AbstractSet[Sensor]) -> tuple[str, str] | None:
    """Return why these sensors serve no model, a word and a sentence; None if they do."""
    if "accel" in sensors or {"linear_accel", "gravity"} <= sensors:
        return None
    if "linear_accel" in sensors:
        return "no_gravity", NO_GRAVITY
    return "no_accelerometer", NO_ACCELEROMETER


def _faults(skipped: Counter[str]) -> str:
    """Say what is wrong with the samples of a message whose sensors would do."""
    told = [
        f"{n} samples are left out as {reason}: {FAULTS[reason]}"
        for reason, n in skipped.items()
        if n
    ]
    return f"The sensors would do, but {'; '.join(told)}."


def _misnamed(taken: Decoded) -> str:
    return (
        f"Another device sends as stream {taken.beside!r}: give this one a name of its own in its "
        f"URL; until then it is stream {taken.stream!r}."
    )
