"""A real HTTP server that answers as it is told and keeps what it was sent: for tests only."""

import socket
import ssl
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict
    body: bytes


class Receiver:
    """Answers each POST with what `answer(request)` returns: a status, headers, a text."""

    def __init__(self, answer=lambda _: (204, {}, ""), tls=None):
        self.answer = answer
        self.requests = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, body)
                receiver.requests.append(request)
                status, more, text = receiver.answer(request)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # a client that parted again: as it should
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.url = f"https://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def speaking(*pieces, pause_s=0.0):
    """Send these pieces to whoever connects, whatever comes; yield the port."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve():
            while not stop.is_set():
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    continue
                with peer:
                    for piece in pieces:
                        try:
                            peer.sendall(piece)
                        except OSError:
                            break
                        if stop.wait(pause_s):
                            break

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()


if __name__ == "__main__":
    receiver = Receiver()
    sys.stdout.write(f"{receiver.port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    receiver.close()
