"""Certificates of our own, and listeners of a real mosquitto that want TLS: for tests only."""

import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager, suppress
from threading import Thread

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from hard_mqtt import MqttSink, MqttSource

_CA = """
[ca]
default_ca = ours
[ours]
dir = .
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = none
unique_subject = no
[any]
commonName = supplied
[v3]
subjectAltName = {names}
"""
_VALID, _EXPIRED = ("20200101000000Z", "20400101000000Z"), ("20200101000000Z", "20200201000000Z")


def source_at(port, **config):
    return MqttSource("phone", MqttSource.Config(**({"host": "127.0.0.1", "port": port} | config)))


def sink_at(port, **config):
    return MqttSink("out", MqttSink.Config(**({"host": "127.0.0.1", "port": port} | config)))


class Certificates:
    """`NAME.pem` and `NAME.key` in a folder, made by the `openssl` command."""

    def __init__(self, folder):
        self._folder = folder
        for name in ("ca", "other_ca"):
            self._openssl("req", "-x509", *self._new(name), "-days", "3650", "-out", f"{name}.pem")
        (folder / "index").touch()
        self._sign("broker", "DNS:localhost,IP:127.0.0.1", _VALID)
        self._sign("expired", "DNS:localhost,IP:127.0.0.1", _EXPIRED)
        self._sign("elsewhere", "DNS:elsewhere.example", _VALID)
        self._sign("client", "DNS:client", _VALID)

    def path(self, name):
        return str(self._folder / name)

    def _openssl(self, *command):
        subprocess.run(["openssl", *command], cwd=self._folder, check=True, capture_output=True)

    def _new(self, name):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        return (*curve, "-keyout", f"{name}.key", "-subj", f"/CN={name}")

    def _sign(self, name, names, valid):
        (self._folder / "ca.cnf").write_text(_CA.format(names=names))
        self._openssl("req", *self._new(name), "-out", f"{name}.csr")
        signer = ("-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-rand_serial")
        dates = ("-startdate", valid[0], "-enddate", valid[1], "-extensions", "v3", "-notext")
        files = ("-in", f"{name}.csr", "-out", f"{name}.pem")
        self._openssl("ca", "-batch", *signer, *dates, *files)


def listen_tls(broker, certificates, name="broker", *, ask_client=False):
    """Give `broker`, from its next start, a TLS listener with this certificate; return its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    broker._lines += [
        f"listener {port} 127.0.0.1",
        f"cafile {certificates.path('ca.pem')}",
        f"certfile {certificates.path(name + '.pem')}",
        f"keyfile {certificates.path(name + '.key')}",
        f"require_certificate {'true' if ask_client else 'false'}",
    ]
    return port


@contextmanager
def websocket_gateway(broker, path="/mqtt", tls_name=""):
    """Carry MQTT in WebSocket frames to `broker` (Debian 12's mosquitto can't); give the port."""
    command = [sys.executable, __file__, str(broker.port), path, tls_name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _serve(broker_port, path, tls_name):
    """Be the gateway: a process of its own, for its threads and files are not the tested ones."""

    def carry(outside):
        with socket.create_connection(("127.0.0.1", broker_port)) as inside:
            back = Thread(target=give_back, args=(inside, outside))
            back.start()
            with suppress(OSError, ConnectionClosed):
                for frame in outside:
                    inside.sendall(frame)
            with suppress(OSError):
                inside.shutdown(socket.SHUT_RDWR)
            back.join()

    def give_back(inside, outside):
        with suppress(OSError, ConnectionClosed):
            while data := inside.recv(65_536):
                outside.send(data)
        outside.close()

    def only_there(connection, request):
        return None if request.path == path else connection.respond(404, "not here\n")

    tls = None
    if tls_name:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(f"{tls_name}.pem", f"{tls_name}.key")
    settings = {"subprotocols": ["mqtt"], "process_request": only_there, "ssl": tls}
    with serve(carry, "127.0.0.1", 0, **settings) as server:
        sys.stdout.write(f"{server.socket.getsockname()[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), *sys.argv[2:])
