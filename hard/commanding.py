"""What may be asked of the running daemon: one table, whoever asks and by whichever way.

    label      stream, text         label what is recorded, "" ends the label
    calibrate  stream               the wearer stands still and upright now
    pause      stream, for_s        recognise nothing of it, for so many seconds if given
    resume     stream               recognise it again
    clear      stream               let the sinks remove what they show of it
    forget     stream               remove all that is kept of it
    redeliver  sink, after_seq, since_ns, stream    deliver events again
    reload                          read the configuration again

The control socket (`hard.control`) and sources with somebody outside (`hard.api.Source.ask`) hand
requests in; one thread named "commands" meets them in turn, so that none waits for the pipeline or
a reload where it came in.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hard.api import NS_PER_S
from hard.inbox import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hard.api import Command

__all__ = ["ANSWER_S", "Commands", "Daemon", "Request", "checked", "refused"]

ANSWER_S = 2.0
"""The pipeline may take so long to take a request in."""
MAX_WAITING = 32
_FOREVER = 366 * 86400.0

_log = logging.getLogger(__name__)


class Daemon(Protocol):
    """What is asked of `hard.runtime.Runtime`; all of it may be called from any thread.

    Each raises `Refusal` where it can't be done.
    """

    def label(self, stream: str, t_ns: int, text: str) -> None:
        """Label a stream's recording."""
        ...

    def calibrate(self, stream: str, timeout_s: float) -> None:
        """Calibrate a stream."""
        ...

    def pause(
        self, stream: str, for_s: float | None, until_ns: int | None, timeout_s: float
    ) -> None:
        """Recognise nothing of a stream, for so long."""
        ...

    def resume(self, stream: str, timeout_s: float) -> None:
        """Recognise a stream again."""
        ...

    def clear(self, stream: str, timeout_s: float) -> dict[str, bool]:
        """Let the sinks remove what they show of a stream; return which have done so."""
        ...

    def forget(self, stream: str, timeout_s: float) -> dict[str, Any]:
        """Remove all that is kept of a stream; return JSON values."""
        ...

    def redeliver(
        self, sink: str, after_seq: int | None, since_ns: int | None, stream: str | None
    ) -> int:
        """Deliver events again; return how many."""
        ...

    def reload(self) -> Mapping[str, Any]:
        """Apply what changed in the configuration; return what was done, as JSON values."""
        ...


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    config: str | None = Field(default=None, max_length=4096)
    """The configuration of who asks: a daemon with another one refuses."""


class _OfStream(_Request):
    stream: str = Field(min_length=1, max_length=256)


class Label(_OfStream):
    command: Literal["label"]
    text: str = Field(max_length=200)

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        daemon.label(self.stream, time.time_ns(), self.text)
        return {}


class Calibrate(_OfStream):
    command: Literal["calibrate"]

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        daemon.calibrate(self.stream, ANSWER_S)
        return {}


class Pause(_OfStream):
    command: Literal["pause"]
    for_s: float | None = Field(default=None, gt=0, le=_FOREVER)

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        for_s = self.for_s
        until_ns = None if for_s is None else time.time_ns() + int(for_s * NS_PER_S)
        daemon.pause(self.stream, for_s, until_ns, ANSWER_S)
        return {}


class Resume(_OfStream):
    command: Literal["resume"]

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        daemon.resume(self.stream, ANSWER_S)
        return {}


class Clear(_OfStream):
    command: Literal["clear"]

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        return {"sinks": daemon.clear(self.stream, ANSWER_S)}


class Forget(_OfStream):
    command: Literal["forget"]

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        return daemon.forget(self.stream, ANSWER_S)


class Redeliver(_Request):
    command: Literal["redeliver"]
    sink: str = Field(max_length=256)
    after_seq: int | None = Field(default=None, ge=0, lt=2**63)
    since_ns: int | None = Field(default=None, gt=-(2**63), lt=2**63)
    stream: str | None = Field(default=None, max_length=256)

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        which = self.after_seq, self.since_ns, self.stream
        return {"events": daemon.redeliver(self.sink, *which)}


class Reload(_Request):
    command: Literal["reload"]

    def meet(self, daemon: Daemon) -> Mapping[str, Any]:
        return daemon.reload()


Request = Label | Calibrate | Pause | Resume | Clear | Forget | Redeliver | Reload
_REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="command")])


def checked(body: Mapping[str, Any]) -> Request:
    """Return a request that is written as it must be, else raise `Refusal`."""
    try:
        return _REQUESTS.validate_python(body)
    except ValidationError as error:
        raise Refusal("bad_request", explained(error)) from error


def explained(error: ValidationError) -> str:
    """Return what is wrong with a request, in one sentence."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def refused(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as an answer."""
    return {"ok": False, "error": refusal.reason, "message": str(refusal)}


class Commands:
    """Meets requests in turn, in a thread of its own that `start` begins and `stop` ends."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._waiting: queue.Queue[tuple[Request, Callable[[Mapping[str, Any]], None]] | None]
        self._waiting = queue.Queue(MAX_WAITING)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def start(self) -> None:
        """Begin to meet requests."""
        self._thread.start()

    def stop(self) -> None:
        """Refuse what waits and what comes; what is being met goes on."""
        self._stopping = True
        with contextlib.suppress(queue.Full):  # then the thread is awake, and will see it
            self._waiting.put_nowait(None)

    def submit(self, request: Request, answer: Callable[[Mapping[str, Any]], None]) -> None:
        """Take a request in; `answer` is called once, maybe at once.  Never blocks."""
        if self._stopping:
            answer(refused(Refusal("stopping", "the daemon is about to stop")))
            return
        try:
            self._waiting.put_nowait((request, answer))
        except queue.Full:
            answer(refused(Refusal("busy", f"{MAX_WAITING} requests wait already: try again")))

    def obey(self, command: Command) -> None:
        """Take in what a source asks for; never blocks."""
        if stray := {"command", "config"} & command.arguments.keys():
            command.answer(refused(Refusal("bad_request", f"{min(stray)}: not to be given")))
            return
        try:
            request = checked({**command.arguments, "command": command.name})
        except Refusal as refusal:
            command.answer(refused(refusal))
        else:
            self.submit(request, command.answer)

    def _run(self) -> None:
        while not self._stopping or not self._waiting.empty():
            waiting = self._waiting.get()
            if waiting is None:
                continue
            request, answer = waiting
            try:
                answer(self._met(request))
            except (Exception, SystemExit):  # noqa: BLE001 - whoever asked may be gone in its own way
                _log.exception("commands: an answer could not be given")

    def _met(self, request: Request) -> Mapping[str, Any]:
        if self._stopping:
            return refused(Refusal("stopping", "the daemon is about to stop"))
        try:
            return {"ok": True, **request.meet(self._daemon)}
        except Refusal as refusal:
            return refused(refusal)
        except (Exception, SystemExit):  # noqa: BLE001 - must not end the thread, nor go unseen
            _log.exception("commands: a bug: %s is not done", request.command)
            return refused(Refusal("bug", "it failed: the log tells more"))
