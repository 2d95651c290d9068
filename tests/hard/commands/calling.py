"""`hard` as a process, at a terminal or not, and a daemon that it asks: for tests only."""

import contextlib
import os
import pty
import socket
import subprocess
import sys
import threading

HARD = [sys.executable, "-m", "hard"]


def hard(*arguments, folder=None, **options):
    """Run a command to its end."""
    command = [*HARD, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=120, **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def at_a_terminal(*arguments, folder=None):
    """Start a command whose errors and keyboard are a terminal; give process and terminal.

    The terminal is a binary file: lines read are what it shows, bytes written what is typed.
    """
    terminal, its_end = pty.openpty()
    command = [*HARD, *map(str, arguments)]
    with (
        subprocess.Popen(
            command, stdin=its_end, stdout=subprocess.PIPE, stderr=its_end, cwd=folder
        ) as process,
        open(terminal, "r+b", buffering=0) as shown,  # noqa: PTH123 - a descriptor has no path
    ):
        os.close(its_end)
        try:
            yield process, shown
        finally:
            process.kill()


def all_shown(terminal):
    """Return all that a terminal shows until the process has left it."""
    text = b""
    with contextlib.suppress(OSError):  # EIO: nobody is at the other end
        while data := terminal.read(4096):
            text += data
    return text.decode()


@contextlib.contextmanager
def answering(path, answer):
    """Serve one client at a control socket with a fixed answer."""

    def serve():
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)
