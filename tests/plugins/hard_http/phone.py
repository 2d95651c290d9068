"""A phone that runs phyphox, as far as its remote access goes: a real HTTP server.

Run as a program it prints its port and measures until its input ends.
"""

import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log10
from urllib.parse import parse_qsl, urlsplit

ACCELERATION = ("accelerometer", "acc_time", "accX", "accY", "accZ")
GYROSCOPE = ("gyroscope", "gyr_time", "gyrX", "gyrY", "gyrZ")
LINEAR = ("linear_acceleration", "lin_time", "linX", "linY", "linZ")
GRAVITY = ("gravity", "graT", "graX", "graY", "graZ")


class Phyphox:
    """`measure` puts samples into its buffers; `/get` gives them as the app does."""

    def __init__(self, *inputs, port=0, has_config=True):
        self.inputs, self.has_config = inputs, has_config
        self.session, self.measuring, self.title = "a1b2c3", True, "Acceleration with g"
        self.replies = {}
        self.asked = []
        self.begin(self.session)
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", port), type("H", (_Handler,), {"it": self})
        )
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def begin(self, session):
        """Begin anew, with empty buffers, as another experiment does."""
        self.buffers = {name: [] for _, *names in self.inputs for name in names}
        self.session = session

    def clear(self):
        """Empty the buffers within the session."""
        self.begin(self.session)

    def measure(self, *times_s, of=ACCELERATION, values=(0.5, -0.25, 9.8125)):
        columns = (times_s, *([value] * len(times_s) for value in values))
        more = zip(of[1:], columns, strict=True)
        # In one step: the app locks its buffers while it adds and while it answers.
        self.buffers = self.buffers | {name: [*self.buffers[name], *new] for name, new in more}

    def answer(self, path, query):
        if path in self.replies:
            return self.replies[path]
        if path == "/config" and self.has_config:
            return 200, json.dumps(self._config())
        if path == "/get":
            return 200, self._get(query)
        return 404, "not found"

    def _config(self):
        inputs = [
            {
                "source": source,
                "outputs": [{axis: name} for axis, name in zip("txyz", names, strict=True)],
            }
            for source, *names in self.inputs
        ]
        return {"title": self.title, "buffers": [], "inputs": [{"source": "bluetooth"}, *inputs]}

    def _get(self, query):
        held = self.buffers
        parts = [
            f'"{name}":{{"size":0, "buffer":[{_listed(name, wanted, held)}]}}'
            for name, wanted in query
            if name in held
        ]
        status = f'"session":"{self.session}", "measuring":{json.dumps(self.measuring)}'
        return (
            f'{{"buffer":{{\n{",".join(parts)}\n}},\n"status":{{\n{status}, "countDown":0\n}}\n}}\n'
        )

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _listed(name, wanted, held):
    if not wanted:
        return _number(held[name][-1]) if held[name] else "null"
    threshold, _, reference = wanted.partition("|")
    limit = float(threshold)
    if limit:
        limit += 10 ** (log10(abs(limit) / 1e7) // 1)  # the app's: nothing is given twice
    times = held[reference or name]
    return ",".join(
        _number(v) for v, t in zip(held[name], times, strict=False) if t is None or t > limit
    )


def _number(value):
    return "null" if value is None else f"{value:.7E}"


class _Handler(BaseHTTPRequestHandler):
    it: Phyphox

    def do_GET(self):
        parts = urlsplit(self.path)
        self.it.asked.append(self.path)
        status, body = self.it.answer(parts.path, parse_qsl(parts.query, keep_blank_values=True))
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args):
        pass


def main():
    phone = Phyphox(ACCELERATION, GYROSCOPE)
    sys.stdout.write(f"{phone.port}\n")
    sys.stdout.flush()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
    for i in itertools.count():
        phone.measure(i / 100)
        phone.measure(i / 100, of=GYROSCOPE)
        if ended.wait(0.01):
            break
    phone.close()


if __name__ == "__main__":
    main()
