"""One request to the address that was configured: nobody else is ever asked.

No proxy of the environment, no redirect, no cookie; a connection of its own for each request, which
is over in `timeout_s`, name, TLS and answer included.  Called by the sinks' own threads.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import h11
from pydantic import Field, model_validator

from hard.api import PluginConfig, SinkUnavailable, Stage
from hard_formats.credentials import CredentialError, credential_path, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_READ_BYTES: Final = 65_536
_MAX_HEAD_BYTES: Final = 16_384
_SHOWN_BYTES: Final = 300
_PORTS: Final = {"http": 80, "https": 443}


class PostingConfig(PluginConfig):
    """Where to post to, and how long it may take."""

    ca_file: str | None = None
    timeout_s: float = Field(5.0, ge=0.1, le=8.0)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL in parts; `target` is path and query, as the request names them."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the parts of a URL; raise ValueError, a sentence, for one that can't be meant."""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("it must be of printable ASCII without spaces (others %-encoded)")
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("it must begin with http:// or https:// and a host")
        if parts.username is not None or parts.fragment:
            raise ValueError("it may hold no user, password or fragment; secrets go into files")
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.scheme, parts.hostname, port, (parts.path or "/") + query)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_readable_by_others(self) -> bool:
        """Whether what is sent passes a network without encryption."""
        if self.scheme == "https" or self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True


class UrlConfig(PostingConfig):
    """The same with the URL itself."""

    url: str

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        check_url(self.url, self.ca_file)
        return self

    @property
    def endpoint(self) -> Endpoint:
        """The URL in parts."""
        return Endpoint.of(self.url)


def check_url(url: str, ca_file: str | None) -> None:
    """Raise ValueError for a URL that can't be meant."""
    try:
        endpoint = Endpoint.of(url)
    except ValueError as error:
        raise ValueError(f"url: {error}") from error
    if ca_file is not None and endpoint.scheme != "https":
        raise ValueError("ca_file has no effect without https")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers that matter here, the begin of the text."""

    status: int
    retry_after: str
    location: str
    text: str

    def __str__(self) -> str:
        """Return status and text, as a log shows them."""
        said = f": {self.text!r}" if self.text else ""
        return f"HTTP {self.status}{said}"


class Poster:
    """Posts to one endpoint; every failure to get an answer is a `SinkUnavailable`."""

    def __init__(self, endpoint: Endpoint, config: PostingConfig) -> None:
        """Read the certificates; raises `SinkUnavailable` where they can't be used."""
        self._endpoint = endpoint
        self._timeout_s = config.timeout_s
        self._ca_file = config.ca_file
        self._context = _tls_context(config.ca_file) if endpoint.scheme == "https" else None

    def reach(self) -> str:
        """Connect and part again, as far as TLS; return the address that answered."""
        with self._connected(time.monotonic() + self._timeout_s) as sock:
            return str(sock.getpeername()[0])

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one request and return its answer, whatever its status."""
        deadline_s = time.monotonic() + self._timeout_s
        endpoint = self._endpoint
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        own = {"Host": endpoint.address, "User-Agent": "hard", "Connection": "close"}
        request = h11.Request(
            method="POST",
            target=endpoint.target,
            headers=list((own | {"Content-Length": str(len(body))} | dict(headers)).items()),
        )
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        data = b"".join(http.send(part) or b"" for part in parts)
        with self._connected(deadline_s) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may say why
                sock.settimeout(_left_s(deadline_s))
                sock.sendall(data)
            try:
                return _answer(http, sock, deadline_s)
            except h11.RemoteProtocolError as error:
                raise SinkUnavailable(
                    f"{endpoint.address} does not answer in HTTP ({error}): is url right?"
                ) from error

    @contextlib.contextmanager
    def _connected(self, deadline_s: float) -> Iterator[socket.socket]:
        """Connect; whatever fails until the block ends is told as `SinkUnavailable`."""
        try:
            with self._dialled(deadline_s) as bare:
                if self._context is None:
                    yield bare
                    return
                bare.settimeout(_left_s(deadline_s))
                with self._context.wrap_socket(bare, server_hostname=self._endpoint.host) as sock:
                    yield sock
        except (OSError, UnicodeError) as error:
            failure = self._explain(error)
        else:
            return
        # Without the cause: its frames would keep the socket of a failed handshake open.
        raise SinkUnavailable(failure)

    def _dialled(self, deadline_s: float) -> socket.socket:
        failure: OSError | None = None
        for family, where in _resolved(self._endpoint, deadline_s):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(_left_s(deadline_s))
                sock.connect(where)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure or OSError("it has no address")

    def _explain(self, error: Exception) -> str:
        address = self._endpoint.address
        if isinstance(error, TimeoutError):
            return f"{address} did not answer within {self._timeout_s:g} s: is it busy or far away?"
        if isinstance(error, ssl.SSLCertVerificationError):
            remedy = (
                "set ca_file to the certificate of the authority that signed it"
                if self._ca_file is None
                else f"is ca_file {self._ca_file!r} of the authority that signed it?"
            )
            return f"the certificate of {address} is not trusted ({error.verify_message}): {remedy}"
        if isinstance(error, ssl.SSLError):
            return f"no TLS with {address} ({error}): does it speak https at all?"
        return f"{address} can't be reached ({error}): is it running, is url right?"

    def probe(self) -> Iterator[Stage]:
        """Yield the one stage that leaves everything as it is: the way there."""
        try:
            yield Stage("connection", True, f"{self._endpoint.address} is {self.reach()}")
        except SinkUnavailable as error:
            detail, _, remedy = str(error).rpartition(": ")
            yield Stage("connection", False, detail, remedy)


def token_of(key: str, name: str) -> str:
    """Return the token in the file that a setting names; raise `SinkUnavailable`."""
    try:
        token = first_line(key, name).strip()
    except CredentialError as error:
        raise SinkUnavailable(str(error)) from error
    if not token or not token.isascii() or not token.isprintable():
        raise SinkUnavailable(f"{key} {name!r}: its first line must be the token, in ASCII")
    return token


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        ca = None if ca_file is None else str(credential_path("ca_file", ca_file))
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except CredentialError as error:
        raise SinkUnavailable(str(error)) from error
    except OSError as error:  # SSLError is one
        raise SinkUnavailable(
            f"ca_file {ca_file!r} can't be used ({error}): it must be a readable PEM file"
        ) from error
    # Python 3.13 asks for extensions that home-made certificates lack; trust, dates and name are
    # verified all the same.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _left_s(deadline_s: float) -> float:
    """Return what is left until the deadline; raises TimeoutError where that is nothing."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _resolved(endpoint: Endpoint, deadline_s: float) -> list[tuple[socket.AddressFamily, Any]]:
    """Return the addresses of the host.

    In a thread: while the network is away a resolver takes up to half a minute, and can't be told
    to hurry.
    """
    found: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found.put(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error)

    thread = threading.Thread(target=resolve, name=f"resolving {endpoint.host}", daemon=True)
    thread.start()
    try:
        answer = found.get(timeout=_left_s(deadline_s))
    except queue.Empty:
        raise TimeoutError from None
    thread.join()
    if isinstance(answer, Exception):
        raise answer
    return [(family, where) for family, _, _, _, where in answer]


def _answer(http: h11.Connection, sock: socket.socket, deadline_s: float) -> Answer:
    """Read the answer, of its text no more than is shown."""
    response: h11.Response | None = None
    text = b""
    while len(text) < _SHOWN_BYTES:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                sock.settimeout(_left_s(deadline_s))
                http.receive_data(sock.recv(_READ_BYTES))
            except OSError:
                if response is None:
                    raise
                break  # what matters is here
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            text += event.data
        elif not isinstance(event, h11.InformationalResponse):
            break
    if response is None:
        raise h11.RemoteProtocolError("it ended without an answer")
    headers = {name: value.decode("latin-1") for name, value in response.headers}
    return Answer(
        response.status_code,
        headers.get(b"retry-after", ""),
        headers.get(b"location", ""),
        text[:_SHOWN_BYTES].decode("utf-8", "replace").strip(),
    )
