"""`hard` as a process, at a terminal or not, and a daemon that it asks: for tests only."""

import contextlib
import multiprocessing
import os
import pty
import socket
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

HARD = [sys.executable, "-m", "hard"]

# Some hundred commands are run: each is a process of its own, but forked from one that has
# imported what most of them need, which takes most of their time.
_READY = multiprocessing.get_context("forkserver")
_READY.set_forkserver_preload(["hard.cli", "hard.replay", "hard.runtime", "hard_file", __name__])


def hard(*arguments, folder=None, env=None, typed="", timeout_s=120):
    """Run a command to its end, its input being what is typed, not a terminal."""
    command = [*HARD, *map(str, arguments)]
    with TemporaryDirectory() as kept:
        standard = [Path(kept, name) for name in ("in", "out", "err")]
        standard[0].write_text(typed)
        arguments = (command[2:], folder or Path.cwd(), env or dict(os.environ), standard)
        process = _READY.Process(target=_become, args=arguments)
        process.start()
        process.join(timeout_s)
        code = process.exitcode
        process.kill()
        process.join()
        process.close()
        out, err = (path.read_text() if path.exists() else "" for path in standard[1:])
    if code is None:
        raise subprocess.TimeoutExpired(command, timeout_s, out, err)
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(command, code, out, err)


def _become(command, folder, environment, standard):
    """Be the command, with these files as its input, output and errors."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(standard):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND if descriptor else os.O_RDONLY
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(descriptor, mode, closefd=False)  # noqa: SIM115 - a descriptor has no path
        for descriptor, mode in enumerate(("r", "w", "w"))
    )
    sys.argv = command
    from hard.__main__ import main  # noqa: PLC0415 - preloaded

    main()


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
