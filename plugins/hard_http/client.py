"""One GET of a device on the local network, bounded in time and size; `PhyphoxSource` calls it.

Neither proxies nor redirects: the address that was configured answers, or nobody.
"""

from __future__ import annotations

import asyncio

import h11

_READ_BYTES = 65_536


class AwayError(Exception):
    """No usable answer came; the text says why."""


class TooLargeError(Exception):
    """The answer is over the limit."""


async def get(
    host: str, port: int, target: str, *, max_bytes: int, timeout_s: float
) -> tuple[int, bytes]:
    """Return the status and the body of `http://host:port/target`.

    Raises AwayError when nothing answers in HTTP within `timeout_s`, TooLargeError when the body
    is over `max_bytes`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                http = h11.Connection(h11.CLIENT)
                headers = [("Host", f"{host}:{port}"), ("Connection", "close")]
                request = h11.Request(method="GET", target=target, headers=headers)
                writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
                return await _response(http, reader, max_bytes)
            finally:
                writer.transport.abort()
    except TimeoutError as error:
        raise AwayError(f"no answer within {timeout_s:g} s") from error
    except (OSError, UnicodeError, h11.RemoteProtocolError) as error:
        raise AwayError(str(error) or repr(error)) from error


async def _response(
    http: h11.Connection, reader: asyncio.StreamReader, max_bytes: int
) -> tuple[int, bytes]:
    status, body = 0, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > max_bytes:
                raise TooLargeError
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise AwayError("it ended without an answer")
