"""A small HTTP/1.1 server on asyncio: h11 speaks the protocol, this one keeps the limits.

It knows nothing of sensors and of tokens: a `Site` judges each request by its head and answers its
body.  It runs in the thread of its caller, `HttpSource.run`, and starts no other.

No connection is held longer than `timeout_s` for one request, however slowly it comes; no more
than `max_connections` are open; no more than `max_body_bytes` are kept of any of them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import h11

if TYPE_CHECKING:
    import socket
    from asyncio import StreamReader, StreamWriter

_READ_BYTES = 65_536
_MAX_HEAD_BYTES = 16_384
_LINGER_S = 1.0
_BUSY = b"HTTP/1.1 503 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of us."""

    max_body_bytes: int
    max_connections: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; header names are in lower case."""

    peer: str
    method: str
    path: str
    query: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a sentence for whoever reads it on the other side."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


class Site(Protocol):
    """What stands behind the server; it never blocks."""

    def refuse(self, head: Head) -> Answer | None:
        """Return why the body is not even read, or None to read it."""
        ...

    def take(self, head: Head, body: bytes) -> Answer:
        """Use the body and answer."""
        ...

    def turned_away(self, reason: str, detail: str) -> None:
        """Count a connection that the server ended by itself; `reason` is a word."""
        ...


async def serve(listener: socket.socket, site: Site, limits: Limits) -> None:
    """Serve until cancelled, then close `listener` and every connection; raise what `site` does."""
    talks: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:

        def connected(reader: StreamReader, writer: StreamWriter) -> None:
            if len(talks) >= limits.max_connections:
                site.turned_away("busy", f"all {limits.max_connections} connections are in use")
                writer.write(_BUSY)
                writer.close()
                return
            talk = group.create_task(_Talk(reader, writer, site, limits).run())
            talks.add(talk)
            talk.add_done_callback(talks.discard)

        server = await asyncio.start_server(connected, sock=listener)
        try:
            await asyncio.get_running_loop().create_future()  # never done: only cancelled
        finally:
            server.close()


class _TooLargeError(Exception):
    """The body is over the limit."""


class _Talk:
    """One connection: requests one after the other, each within the limits."""

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, site: Site, limits: Limits
    ) -> None:
        self._reader, self._writer, self._site, self._limits = reader, writer, site, limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._peer = str((writer.get_extra_info("peername") or ["?"])[0])
        self._method = ""
        writer.transport.set_write_buffer_limits(0)  # drain() waits until everything is sent

    async def run(self) -> None:
        """Answer until the peer leaves, breaks a rule or is too slow."""
        try:
            more = True
            while more:
                async with asyncio.timeout(self._limits.timeout_s):
                    more = await self._exchange()
        except TimeoutError:
            if self._http.their_state is not h11.IDLE or self._http.trailing_data[0]:
                limit = f"timeout_s = {self._limits.timeout_s:g}"
                self._site.turned_away("slow", f"a request of {self._peer} took over {limit}")
        except OSError:  # the peer is gone: its right
            pass
        finally:
            self._writer.transport.abort()

    async def _exchange(self) -> bool:
        """Read one request and answer it; return whether another may follow."""
        try:
            request = await self._event()
            if not isinstance(request, h11.Request):
                return False
            head = self._head(request)
            refusal = self._site.refuse(head)
            if refusal is not None:
                return await self._part(refusal)
            answer = self._site.take(head, await self._body(head))
        except _TooLargeError:
            limit = f"{self._limits.max_body_bytes} bytes"
            self._site.turned_away("too_large", f"a message of {self._peer} is over {limit}")
            return await self._part(Answer(413, f"No more than {limit}."))
        except h11.RemoteProtocolError as error:
            self._site.turned_away("bad_request", f"a request of {self._peer} is not HTTP/1.1")
            return await self._part(Answer(error.error_status_hint, "This is not HTTP/1.1."))
        await self._send(answer)
        if self._http.our_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _event(self) -> object:
        """Return h11's next event, reading as much as it takes."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._http.send(go_on) or b"")
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event

    def _head(self, request: h11.Request) -> Head:
        path, _, query = request.target.decode("ascii").partition("?")
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        self._method = request.method.decode("ascii")
        return Head(self._peer, self._method, path, query, headers)

    async def _body(self, head: Head) -> bytes:
        if int(head.headers.get("content-length", "0")) > self._limits.max_body_bytes:
            raise _TooLargeError
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > self._limits.max_body_bytes:  # a chunked one has no length
                raise _TooLargeError
        return bytes(body)

    async def _send(self, answer: Answer, *more: tuple[str, str]) -> None:
        text = answer.text.encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(text))),
            *answer.headers,
            *more,
        ]
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers)]
        if self._method != "HEAD":
            events.append(h11.Data(data=text))
        for event in (*events, h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    async def _part(self, answer: Answer) -> bool:
        """Answer, and close once the peer has read it; return False: no other request follows.

        Closing while the peer still sends would make its system throw our answer away.
        """
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send(answer, ("Connection", "close"))
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                self._writer.write_eof()
                while await self._reader.read(_READ_BYTES):
                    pass
        return False
