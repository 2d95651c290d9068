"""The daemon's control socket: one JSON object a line, each way; the server and the client.

    {"command": "status"}
    {"command": "label", "stream": "phone-1", "text": "cycling"}

and the rest of `hard.commanding`'s table.  Each may carry `config`, the path of the client's
configuration: a daemon with another one refuses.  The answer has `"ok": true` and what was asked
for, or `"ok": false`, `error` (a word) and `message` (a sentence).  A unix socket that only its
owner may use; no network, no password.

`hard run` serves it, with one thread named "control" that never waits for the pipeline: what is
more than a look is done by `Commands`, which answers later.  `hard status`, `label`, `calibrate`,
`pause`, `resume`, `reload` and `doctor` ask.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import queue
import selectors
import socket
import stat
import threading
import time
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hard.commanding import Commands, Request, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "ControlError",
    "NoDaemonError",
    "ask",
    "places",
    "serving",
    "socket_path",
    "status_text",
    "streams_text",
]

SOCKET = "control.sock"
SYSTEM_FOLDER = Path("/run/hard")
SYSTEM_CONFIGURATIONS = Path("/etc/hard")
"""RuntimeDirectory= of the service, as a client sees it."""
MAX_REQUEST_BYTES = 4096
MAX_ANSWER_BYTES = 4_000_000
MAX_CLIENTS = 8
MAX_STREAMS = 1000
"""An answer shows so many streams, those that were heard of last."""
IDLE_S = 10.0
"""A client has so long for each request, from its first byte to the last one of its answer."""
LEAVE_S = 1.0
LOOK_S = 1.0
JOIN_S = 0.25
"""The daemon's end waits so long for a request that is being answered."""
ASK_S = 5.0
RELOAD_S = 120.0
"""A reload lets models prove themselves, which takes seconds on a slow machine."""
MAX_PATH_BYTES = 107

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_UNDECIDED = "nothing decided yet"

_log = logging.getLogger(__name__)


class ControlError(Exception):
    """The socket can't be had, or a request was refused; the message says why."""


class NoDaemonError(ControlError):
    """Nothing listens."""


class _DiskError(ControlError):
    """The disk is full or read-only, which may pass."""


class Daemon(Protocol):
    """What the server needs of `hard.runtime.Runtime`; all of it may be called from any thread."""

    commands: Commands

    def status(self, most_streams: int) -> dict[str, Any]:
        """Return JSON values."""
        ...


class _Status(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    command: Literal["status"]
    config: str | None = Field(default=None, max_length=4096)


_REQUESTS: TypeAdapter[_Status | Request] = TypeAdapter(
    Annotated[_Status | Request, Field(discriminator="command")]
)


# -- where it is ---------------------------------------------------------------------------------


def socket_path(state_folder: Path | None, config: Path) -> Path | None:
    """Return where the daemon of a configuration serves.

    In $RUNTIME_DIRECTORY, else in its state folder, else in a private folder of its user under a
    name made of the configuration's; None where there can be none of these.
    """
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    folder = Path(runtime) if runtime else state_folder
    if folder is not None:
        return folder / SOCKET
    private = _private_folder()
    name = blake2b(os.fsencode(config.resolve()), digest_size=8).hexdigest()
    return None if private is None else private / f"{name}.sock"


def places(state_folder: Path | None, config: Path) -> list[Path]:
    """Return where a client looks for the daemon, the likeliest first."""
    own = socket_path(state_folder, config)
    system = SYSTEM_FOLDER
    if config.absolute().parent == SYSTEM_CONFIGURATIONS and config.stem != "hard":
        system = SYSTEM_FOLDER.with_name(f"hard-{config.stem}")  # of hard@.service
    found = [own, None if state_folder is None else state_folder / SOCKET, system / SOCKET]
    return list(dict.fromkeys(path for path in found if path is not None))


def _private_folder() -> Path | None:
    """Return a folder that only this user can look into, made if need be."""
    home = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(home, "hard") if home else Path(gettempdir(), f"hard-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    is_ours = found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if is_ours and stat.S_ISDIR(found.st_mode) else None


# -- the server ----------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(
    path: Path | None, daemon: Daemon, config: Path, about: Mapping[str, Any]
) -> Iterator[None]:
    """Serve requests while the block runs; None serves nothing.

    `about` is added to each status, as it is then.  Raises `ControlError` where another daemon
    listens or the socket can't be made; on a disk that is full or read-only it is made later.
    """
    if path is None:
        yield
        return
    server = _Server(path, daemon, config, about)
    thread = threading.Thread(target=server.run, name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join(JOIN_S)
        with contextlib.suppress(OSError):  # the disk may be read-only by now
            path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """Return a listening socket at `path`, in place of one that a dead daemon left."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES - len(".new"):
        raise ControlError(f"{path}: too long for a unix socket: choose a shorter state_dir")
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise ControlError(f"{path}: it is there and no socket: remove it")
    with contextlib.suppress(NoDaemonError), _connected(path, 1.0):
        raise ControlError(f"{path}: another daemon listens there: stop it first")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    aside = path.with_name(f"{path.name}.new")
    try:
        aside.unlink(missing_ok=True)
        listener.bind(str(aside))
        aside.chmod(0o600)  # before anyone can find it
        listener.listen(MAX_CLIENTS)
        aside.replace(path)
    except OSError as error:
        listener.close()
        kind = _DiskError if error.errno in _DISK else ControlError
        raise kind(f"{path}: no control socket there: {error.strerror}") from error
    listener.setblocking(False)
    return listener


class _Server:
    """Answers up to 8 clients, one request of each in turn, in the one thread that calls `run`."""

    def __init__(self, path: Path, daemon: Daemon, config: Path, about: Mapping[str, Any]) -> None:
        self._path = path
        self._listener: socket.socket | None = None
        try:
            self._listener = _bound(path)
        except _DiskError as error:
            _log.warning("%s: it is tried again, nobody is answered before", error)
        self._daemon = daemon
        self._config = config.resolve()
        self._about = about  # may change while it serves
        self._met: queue.SimpleQueue[tuple[_Client, Mapping[str, Any]]] = queue.SimpleQueue()
        self._began_s = self._looked_s = time.monotonic()
        self._clients: dict[socket.socket, _Client] = {}
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._stopping = False

    def stop(self) -> None:
        """Let `run` return after the request that is being answered."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            self._waker.send(b".")

    def run(self) -> None:
        """Serve until `stop`."""
        with selectors.DefaultSelector() as selector:
            self._selector = selector
            selector.register(self._woken, selectors.EVENT_READ)
            if self._listener is not None:
                selector.register(self._listener, selectors.EVENT_READ)
            while not self._stopping:
                self._turn()
        for sock in (*self._clients, self._listener, self._woken, self._waker):
            if sock is not None:
                sock.close()

    def _turn(self) -> None:
        """Attend to what is ready, and part with those whose time is up."""
        busy = any(client.has_line for client in self._clients.values())
        ready = {key.fileobj for key, _ in self._selector.select(0.0 if busy else LOOK_S)}
        if self._woken in ready:
            self._woken.recv(MAX_REQUEST_BYTES)
            self._guarded(self._hand_out)
        for client in list(self._clients.values()):
            if self._stopping:
                return
            if client.sock in ready or client.has_line:
                self._guarded(lambda client=client: self._attend(client))  # type: ignore[misc]
        now_s = time.monotonic()
        for client in [c for c in self._clients.values() if now_s > c.due_s]:
            self._part(client)
        if self._listener in ready:  # behind those that left, whose places are free now
            self._guarded(self._accept)
        if now_s >= self._looked_s + LOOK_S:
            self._looked_s = now_s
            self._guarded(self._bind_again)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            _log.debug("control: %s", error)
        except Exception:  # noqa: BLE001 - a bug here must not end the thread, nor go unseen
            _log.exception("control: a bug: one request is not answered")

    def _accept(self) -> None:
        assert self._listener is not None
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        served = sum(not client.is_leaving for client in self._clients.values())
        if len(self._clients) - served >= MAX_CLIENTS:
            sock.close()  # so many are being told already
            return
        client = self._clients[sock] = _Client(sock)
        self._selector.register(sock, selectors.EVENT_READ)
        if served >= MAX_CLIENTS:
            client.leave(_refusal("busy", f"busy with {MAX_CLIENTS} other clients: try again"))
            self._send(client)

    def _part(self, client: _Client) -> None:
        if client.sock in self._selector.get_map():
            self._selector.unregister(client.sock)
        del self._clients[client.sock]
        client.sock.close()

    def _attend(self, client: _Client) -> None:
        """Take what a client sent and answer one request; part with it where that fails."""
        try:
            if not client.rest_out and not client.has_line and not client.receive():
                self._part(client)
                return
            if client.is_too_long:
                client.leave(_refusal("too_long", f"more than {MAX_REQUEST_BYTES} bytes"))
            elif not client.rest_out and (line := client.next_line()):
                self._answer(client, line)
            self._send(client)
        except OSError:
            self._part(client)

    def _send(self, client: _Client) -> None:
        """Send what can be sent; read on only once all is, so that nobody piles up answers."""
        client.send()
        if client.is_waiting:
            self._selector.unregister(client.sock)
            return
        wanted = selectors.EVENT_WRITE if client.rest_out else selectors.EVENT_READ
        self._selector.modify(client.sock, wanted)

    def _bind_again(self) -> None:
        """Listen at the path where that was not possible before, or somebody has removed it."""
        before = self._listener
        if before is not None and self._path.exists():
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            listener = _bound(self._path)
        except ControlError as error:
            _log.debug("control: %s", error)
            return
        if before is not None:
            _log.warning("%s: removed while it was in use, it is made again", self._path)
            self._selector.unregister(before)
            before.close()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ)

    def _answer(self, client: _Client, line: bytes) -> None:
        """Answer a request, or let it be answered once it has been met."""
        try:
            request = _REQUESTS.validate_json(line)
        except ValidationError as error:
            client.answer(_refusal("bad_request", explained(error)))
            return
        if request.config is not None and Path(request.config) != self._config:
            other = f"this daemon runs with {self._config}"
            client.answer(_refusal("other_configuration", other))
        elif isinstance(request, _Status):
            client.answer(_line({"ok": True, **self._status()}))
        else:
            client.wait()
            self._daemon.commands.submit(request, lambda body: self._hand_in(client, body))

    def _hand_in(self, client: _Client, body: Mapping[str, Any]) -> None:
        """Take in from any thread what a waiting client is to be answered."""
        self._met.put((client, body))
        self._wake()

    def _hand_out(self) -> None:
        """Answer the clients whose requests have been met, if they are still there."""
        while not self._met.empty():
            client, body = self._met.get()
            if self._clients.get(client.sock) is client and client.is_waiting:
                client.answer(_line(dict(body)))
                self._selector.register(client.sock, selectors.EVENT_WRITE)

    def _status(self) -> dict[str, Any]:
        up_s = round(time.monotonic() - self._began_s, 1)
        own = {"config": str(self._config), "pid": os.getpid(), "up_s": up_s}
        return {**self._about, **own, **self._daemon.status(MAX_STREAMS)}


class _Client:
    """A connection, what it sent and was not answered yet, and what it has not yet been sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest_out = b""
        self.is_leaving = self.is_waiting = False
        self.due_s = time.monotonic() + IDLE_S
        self._rest_in = b""

    @property
    def has_line(self) -> bool:
        """Whether a whole request waits that may be answered now."""
        free = not (self.rest_out or self.is_leaving or self.is_waiting)
        return free and b"\n" in self._rest_in

    @property
    def is_too_long(self) -> bool:
        """Whether what it sent is no request, however it goes on."""
        return len(self._rest_in) > MAX_REQUEST_BYTES and b"\n" not in self._rest_in

    def receive(self) -> bool:
        """Take in what it sent; return False where it has gone.  No byte buys it more time."""
        data = self.sock.recv(MAX_REQUEST_BYTES)
        if not self.is_leaving:
            self._rest_in += data
        return bool(data)

    def next_line(self) -> bytes:
        """Return the next request, empty where there is none."""
        if not self.has_line:
            return b""
        line, _, self._rest_in = self._rest_in.partition(b"\n")
        return line.strip()

    def wait(self) -> None:
        """Read nothing more until the request is answered."""
        self.is_waiting = True
        self.due_s = time.monotonic() + RELOAD_S

    def answer(self, line: bytes) -> None:
        """Let a line be sent; its request has been met, so the time for the next begins."""
        self.is_waiting = False
        self.rest_out += line
        self.due_s = time.monotonic() + IDLE_S

    def leave(self, line: bytes) -> None:
        """Let a last line be sent.

        What it still sends is read until it goes, or closing would reset the connection before it
        has read that line.
        """
        if not self.is_leaving:
            self.rest_out, self._rest_in, self.is_leaving = line, b"", True
            self.due_s = time.monotonic() + LEAVE_S

    def send(self) -> None:
        """Send as much as it takes."""
        if not self.rest_out:
            return
        with contextlib.suppress(BlockingIOError):
            self.rest_out = self.rest_out[self.sock.send(self.rest_out) :]
        if self.is_leaving and not self.rest_out:
            self.sock.shutdown(socket.SHUT_WR)


def _line(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode() + b"\n"


def _refusal(reason: str, sentence: str) -> bytes:
    return _line({"ok": False, "error": reason, "message": sentence})


# -- the client ----------------------------------------------------------------------------------


def ask(
    paths: list[Path], config: Path, command: str, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Ask the daemon that runs with this configuration; return its answer.

    Raises `NoDaemonError` where there is none, `ControlError` for a refusal.
    """
    request = {"command": command, "config": str(config.resolve()), **(arguments or {})}
    others = ""
    for path in paths:
        try:
            with _connected(path, RELOAD_S if command == "reload" else ASK_S) as sock:
                answer = _exchange(sock, path, request)
        except NoDaemonError:
            continue
        if answer.get("ok") is True:
            return answer
        if answer.get("error") != "other_configuration":
            raise ControlError(str(answer.get("message")))
        others += f"; at {path}: {answer.get('message')}"
    looked = " and ".join(map(str, paths)) or "nowhere: set hard.state_dir"
    raise NoDaemonError(
        f"no daemon runs with {config} (looked at {looked}{others}): start hard run -c {config}"
    )


def _exchange(sock: socket.socket, path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request and return the answer."""
    try:
        with contextlib.suppress(BrokenPipeError):  # turned away, it has been told why
            sock.sendall(_line(request))
        with sock.makefile("rb") as file:
            line = file.readline(MAX_ANSWER_BYTES)
        answer = json.loads(line)
    except (OSError, ValueError, RecursionError) as error:
        raise ControlError(f"{path}: no answer from the daemon: {error}") from error
    if not isinstance(answer, dict):
        raise ControlError(f"{path}: what answers there is not hard")
    return answer


@contextlib.contextmanager
def _connected(path: Path, timeout_s: float) -> Iterator[socket.socket]:
    """Connect; raise `NoDaemonError` where nothing listens, `ControlError` where it's forbidden."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path))
        except OSError as error:
            if error.errno in {errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR}:
                raise NoDaemonError(f"{path}: nothing listens") from error
            remedy = ": only the daemon's own user and root may: use sudo"
            forbidden = error.errno in {errno.EACCES, errno.EPERM}
            raise ControlError(f"{path}: {error}{remedy if forbidden else ''}") from error
        yield sock


def status_text(answer: Mapping[str, Any]) -> str:
    """Return a status as lines for people."""
    models = ", ".join(answer["models"])
    program = f"hard {answer['version']} on {answer['node']}"
    lines = [f"{program}, up {answer['up_s']:.0f} s, {answer['events']} events, models: {models}"]
    if answer["degraded"]:
        lines.append(f"degraded: {answer['degraded']}")
    for kind in ("source", "sink"):
        for plugin in answer[f"{kind}s"]:
            left = f", {plugin['backlog']} events to deliver" if plugin.get("backlog") else ""
            why = f" ({plugin['why']})" if plugin.get("why") else ""
            lines.append(f"{kind} {plugin['name']}: {plugin['state']}{left}{why}")
    if record := answer["record"]:
        session = record["session"] or "nothing yet"
        lines.append(f"recording: {record['state']}, {session}, {record['bytes']} bytes")
    if (last := answer["reload"]) and not last["ok"]:
        lines.append(f"reload refused {last['age_s']:.0f} s ago: {last['message']}")
    for stream in sorted(answer["streams"], key=lambda stream: str(stream["stream"])):
        what = stream["activity"] or stream["status"] or _UNDECIDED
        rates = ", ".join(f"{sensor} {hz:g} Hz" for sensor, hz in stream["rate_hz"].items())
        told = [stream[key] for key in ("reason", "clock") if stream.get(key)]
        if (left_s := stream.get("resumes_in_s")) is not None:
            told.append(f"for {left_s:.0f} s more")
        why = f" ({'; '.join(told)})" if told else ""
        heard = f"heard {stream['age_s']:.1f} s ago"
        lines.append(f"stream {stream['stream']}: {what}{why}; {heard}; {rates}")
    lines.append(streams_text(answer))
    lines += [f"counted {name}: {n}" for name, n in answer["counts"].items()]
    return "\n".join(lines)


def streams_text(answer: Mapping[str, Any]) -> str:
    """Return how many streams there are, of what status, and how fast they send, as one line."""
    streams = answer["streams"]
    if not streams:
        return "no stream yet"
    beyond = answer["known_streams"] - len(streams)
    of_status = Counter(stream["status"] or _UNDECIDED for stream in streams)
    parts = ", ".join(f"{n} {status}" for status, n in sorted(of_status.items()))
    rate_hz = sum(hz for stream in streams for hz in stream["rate_hz"].values())
    more = f" (and {beyond} heard of longer ago)" if beyond else ""
    several = "" if len(streams) == 1 else "s"
    return f"{len(streams)} stream{several}: {parts}; {rate_hz:.0f} samples/s in all{more}"
