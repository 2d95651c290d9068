"""One run of a program: its input, what it says, its end.  `ExecSink` owns it.

All but the reading of its output happens in the thread of the caller.  The program and what it
starts form a process group, which ends as a whole.  What left the group (setsid) is found by a mark
in its environment, which every descendant inherits that does not clear it.
"""

from __future__ import annotations

import os
import secrets
import select
import selectors
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_READ_BYTES: Final = 4096
_MAX_LINE_BYTES: Final = 4096
_TERM_S: Final = 0.3
_PUMP_S: Final = 0.5
_MARK: Final = "HARD_EXEC"
_ROUNDS: Final = 5
"""What is started while others are ended is found in the next round."""
# What systemd tells the daemon is not for others: they could say in its name that all is well.
_OURS: Final = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}


class ChildGoneError(Exception):
    """The program does not read any more; the message says how it ended."""


class Child:
    """A program that runs; `said` and `answered` are called from another thread, a line each."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        said: Callable[[bytes], None],
        answered: Callable[[bytes], None] | None,
    ) -> None:
        """Start the program; raise OSError where that can't be done."""
        self._mark = f"{_MARK}={os.getpid()}-{secrets.token_hex(8)}"
        key, _, mark = self._mark.partition("=")
        inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
        self._process = subprocess.Popen(  # noqa: S603 - it is what the configuration names
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if answered is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=inherited | {key: mark},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._input = self._process.stdin.fileno()
        os.set_blocking(self._input, False)
        self._alive = os.pidfd_open(self._process.pid)
        self._end = os.eventfd(0)
        heard = {self._process.stderr.fileno(): said}
        if answered is not None and self._process.stdout is not None:
            heard[self._process.stdout.fileno()] = answered
        self._pump = threading.Thread(
            target=_pump, args=(heard, self._end), name=f"{name} output", daemon=True
        )
        self._pump.start()

    def has_ended(self, timeout_s: float = 0.0) -> bool:
        """Tell whether it ends within `timeout_s`; it is still there to be reaped."""
        return bool(_ready(self._alive, select.POLLIN, timeout_s))

    def write(self, line: bytes, deadline_s: float) -> bool:
        """Write a whole line; return False where it is not read by `deadline_s` (monotonic).

        Raises `ChildGoneError` where nobody will.
        """
        while line:
            try:
                line = line[os.write(self._input, line) :]
            except BlockingIOError:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not _ready(self._input, select.POLLOUT, left_s):
                    return False
            except BrokenPipeError as error:
                raise ChildGoneError(self.close(_TERM_S)) from error
        return True

    def close(self, grace_s: float) -> str:
        """End the input, wait, then end it and what it started by force; say how it ended."""
        process = self._process
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        if process.returncode is None:
            if not self.has_ended(grace_s):
                self._kill(signal.SIGTERM)
                self.has_ended(_TERM_S)
            self._kill(signal.SIGKILL)  # before it is reaped: then its number may be another's
            process.wait()
            self._kill_strays()
            self._release()
        code = process.returncode
        return f"signal {-code} ended it" if code < 0 else f"it ended with code {code}"

    def _kill(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # one that became another user
            os.killpg(self._process.pid, number)

    def _kill_strays(self) -> None:
        """End by force what left the group."""
        for _ in range(_ROUNDS):
            strays = list(_marked(self._mark.encode()))
            for number in strays:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(number, signal.SIGKILL)
            if not strays:
                return

    def _release(self) -> None:
        self._pump.join(_PUMP_S)  # the last it said; whoever left the group may keep it open
        os.eventfd_write(self._end, 1)
        self._pump.join()
        for number in (self._alive, self._end):
            os.close(number)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _marked(mark: bytes) -> Iterator[int]:
    """Yield the processes of this user whose environment has a variable, `NAME=value`."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):  # gone, or another user's
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def _ready(number: int, what: int, timeout_s: float) -> int:
    """Return what a descriptor is ready for within `timeout_s`, 0 if it is not."""
    poll = select.poll()
    poll.register(number, what)
    found = poll.poll(timeout_s * 1000)
    return found[0][1] if found else 0


def _pump(heard: dict[int, Callable[[bytes], None]], end: int) -> None:
    """Give every line that is heard to its taker, until all are silent or the end is told."""
    rest = dict.fromkeys(heard, b"")
    with selectors.DefaultSelector() as selector:
        for number in (*heard, end):
            selector.register(number, selectors.EVENT_READ)
        while rest:
            for key, _ in selector.select():
                if key.fd == end:
                    return
                data = os.read(key.fd, _READ_BYTES)
                *lines, last = (rest[key.fd] + data).split(b"\n")
                if len(last) > _MAX_LINE_BYTES or not data:  # too long, or the last of all
                    lines, last = [*lines, last], b""
                for line in filter(None, lines):
                    heard[key.fd](line)
                rest[key.fd] = last
                if not data:
                    selector.unregister(key.fd)
                    del rest[key.fd]
