"""A slow line to a broker: TCP with a delay, a bit rate and stalls as told; for tests only."""

import asyncio
import contextlib
import threading

_PIECE = 1024


class Proxy:
    """Listens on `port` and passes everything on, `delay_s` later and at `bits_per_s` each way.

    `stall` passes nothing on any more, with every connection open, until `go_on`; a TCP packet that
    is lost looks like a stall of a few hundred milliseconds from above.  `connections` counts.
    """

    def __init__(self, target_port, delay_s=0.0, bits_per_s=None):
        self.connections = 0
        self._target_port, self._delay_s = target_port, delay_s
        self._piece_s = 8 * _PIECE / bits_per_s if bits_per_s else 0.0
        self._loop = asyncio.new_event_loop()
        self._open = None
        self._tasks = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="proxy")
        self._thread.start()
        ready.wait()

    def stall(self):
        self._loop.call_soon_threadsafe(self._open.clear)

    def go_on(self):
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self):
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self, ready):
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve(ready))

    async def _serve(self, ready):
        self._open, self._ended = asyncio.Event(), asyncio.Event()
        self._open.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            self._tasks.discard(task)
            return
        try:
            ways = (self._pass_on(reader, back), self._pass_on(there, writer))
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            writer.close()
            back.close()
            self._tasks.discard(task)

    async def _pass_on(self, reader, writer):
        """Pass one direction on; reading goes on while what was read before is delayed."""
        waiting = asyncio.Queue(256)
        sender = asyncio.ensure_future(self._send(waiting, writer))
        try:
            while piece := await reader.read(_PIECE):
                await waiting.put((self._loop.time() + self._delay_s, piece))
            await waiting.put((0.0, b""))
            await sender
        finally:
            sender.cancel()
            writer.close()

    async def _send(self, waiting, writer):
        while True:
            due_s, piece = await waiting.get()
            if not piece:
                return
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await asyncio.sleep(self._piece_s * len(piece) / _PIECE)
            await self._open.wait()
            writer.write(piece)
            await writer.drain()
