"""`hard` as a process, at a terminal or not, and a daemon that it asks: for tests only."""

import contextlib
import multiprocessing
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import reduction
from pathlib import Path
from tempfile import TemporaryFile

HARD = [sys.executable, "-m", "hard"]

# Some hundred commands and daemons are started: each is a process of its own, but forked from one
# that has imported what most of them need, which takes most of their time.
_READY = multiprocessing.get_context("forkserver")
_READY.set_forkserver_preload(["tests.ready"])


class Forked:
    """A `hard` command that is ready at once; in all else as `subprocess.Popen` has it.

    What is about the start itself (the script, the interpreter's flags, its path, signals that come
    early, the memory) is started anew instead.
    """

    def __init__(
        self,
        *arguments,
        stdin=None,
        stdout=None,
        stderr=None,
        text=False,
        cwd=None,
        env=None,
        start_new_session=False,
    ):
        self.args = [*HARD, *map(str, arguments)]
        self.returncode = None
        theirs = [_ends(given, number) for number, given in enumerate((stdin, stdout, stderr))]
        self.stdin, self.stdout, self.stderr = (
            ours and open(ours, mode if text else f"{mode}b")  # noqa: PTH123, SIM115
            for (_, ours), mode in zip(theirs, "wrr", strict=True)
        )
        standard = [_Descriptor(end) for end, _ in theirs]
        told = (self.args[2:], Path(cwd or Path.cwd()), env or dict(os.environ), start_new_session)
        self._process = _READY.Process(target=_become, args=(*told, standard), daemon=True)
        self._process.start()
        for end, _ in theirs:
            os.close(end)
        self.pid = self._process.pid

    def poll(self):
        if self.returncode is None and self._process.exitcode is not None:
            self.returncode = self._process.exitcode
            self._process.close()
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            self._process.join(timeout)
            if self.poll() is None:
                raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is not None:
            self.kill()  # nobody else will, now
        for pipe in filter(None, (self.stdin, self.stdout, self.stderr)):
            pipe.close()
        self.wait()


def _ends(given, number):
    """Return the process's end of what is given as its input, output or errors, and ours if any."""
    if given == subprocess.PIPE:
        ends = os.pipe()
        return ends if number == 0 else ends[::-1]
    if given == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if given is None:
        return os.dup(number), None
    return os.dup(given if isinstance(given, int) else given.fileno()), None


class _Descriptor:
    """An open file that goes along to the process that is forked, as a number there."""

    def __init__(self, number):
        self._number = number

    def __reduce__(self):
        return _arrived, (reduction.DupFd(self._number),)


def _arrived(sent):
    return sent.detach()


def _become(command, folder, environment, is_leader, standard):
    """Be the command, with these files as its input, output and errors."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if is_leader:
        os.setsid()
    for number, opened in enumerate(standard):
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(0, closefd=False),  # noqa: SIM115 - a descriptor has no path
        open(1, "w", closefd=False),  # noqa: SIM115
        open(2, "w", 1, errors="backslashreplace", closefd=False),  # noqa: SIM115
    )
    sys.argv = command
    from hard.__main__ import main  # noqa: PLC0415 - preloaded

    main()


def hard(*arguments, folder=None, env=None, typed="", timeout_s=120):
    """Run a command to its end, its input being what is typed, not a terminal."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        given.write(typed)
        given.seek(0)
        files = {"stdin": given, "stdout": out, "stderr": err}
        with Forked(*arguments, cwd=folder, env=env, **files) as process:
            try:
                process.wait(timeout_s)
            finally:
                process.kill()
        for file in (out, err):
            file.seek(0)
        done = subprocess.CompletedProcess(process.args, process.returncode, out.read(), err.read())
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def at_a_terminal(*arguments, folder=None):
    """Start a command whose errors and keyboard are a terminal; give process and terminal.

    The terminal is a binary file: lines read are what it shows, bytes written what is typed.
    """
    terminal, its_end = pty.openpty()
    ends = {"stdin": its_end, "stdout": subprocess.PIPE, "stderr": its_end}
    with (
        Forked(*arguments, cwd=folder, **ends) as process,
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
