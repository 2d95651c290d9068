"""A phone that runs SensorServer, as far as its WebSocket goes: a real server.

Run as a program it prints its port and streams until its input ends.
"""

import itertools
import json
import queue
import sys
import threading
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

BOOT = 3_925_657_519_043_709


def event(kind="accelerometer", t=BOOT, values=(0.5, -0.25, 9.8125)):
    body = {"accuracy": 2, "timestamp": t, "values": list(values), "type": f"android.sensor.{kind}"}
    return json.dumps(body)


class Phone:
    """Sends to every client what `send` is given; None closes the connection as told."""

    def __init__(self, port=0, ping=True):
        self.asked = queue.SimpleQueue()
        self.close_with = (4004, "Server stopped")
        self._clients = []
        options = {} if ping else {"ping_interval": None}
        self._server = serve(self._stream, "127.0.0.1", port, **options)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _stream(self, connection):
        path = urlsplit(connection.request.path)
        outbox = queue.SimpleQueue()
        self._clients.append(outbox)
        self.asked.put((path.path, parse_qs(path.query)))
        try:
            while (frame := self._next(connection, outbox)) is not None:
                connection.send(frame)
            connection.close(*self.close_with)
        except ConnectionClosed:
            pass
        finally:
            self._clients.remove(outbox)

    def _next(self, connection, outbox):
        while True:
            try:
                return outbox.get(timeout=0.02)
            except queue.Empty:
                try:
                    connection.recv(timeout=0)
                except TimeoutError:
                    continue

    def send(self, *frames):
        for outbox in list(self._clients):
            for frame in frames:
                outbox.put(frame)

    def close(self):
        self._server.shutdown()
        self._thread.join()


def main():
    phone = Phone()
    sys.stdout.write(f"{phone.port}\n")
    sys.stdout.flush()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
    for t in itertools.count(BOOT, 10_000_000):
        phone.send(event(t=t), event("gyroscope", t))
        if ended.wait(0.01):
            break
    phone.close()


if __name__ == "__main__":
    main()
