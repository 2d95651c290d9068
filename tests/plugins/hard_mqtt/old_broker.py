"""A broker of the time before MQTT 5, in front of a real one: for tests only."""

import contextlib
import socket
import threading


@contextlib.contextmanager
def old_broker(broker):
    """Stand before `broker` and know no MQTT 5, as mosquitto before 1.6 does; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve_old, args=(server, broker.port))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve_old(server, port):
    lines = []
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            break
        connect = client.recv(4096)
        if connect[8] == 5:  # the level behind the name MQTT
            client.sendall(b"\x20\x02\x00\x01")
            client.close()
            continue
        inside = socket.create_connection(("127.0.0.1", port))
        inside.sendall(connect)
        for ends in ((client, inside), (inside, client)):
            lines.append(threading.Thread(target=_carry, args=ends))
            lines[-1].start()
    for line in lines:
        line.join()


def _carry(here, there):
    with contextlib.suppress(OSError):
        while data := here.recv(65_536):
            there.sendall(data)
    for end in (here, there):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    here.close()
