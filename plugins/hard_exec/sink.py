"""`ExecSink`: what a program is given, when an event counts as delivered, when it is given up.

How long to wait before a restart is the runtime's; how many there may be is the sink's.
"""

from __future__ import annotations

import json
import shutil
import time
from threading import Condition
from typing import TYPE_CHECKING, Final

from pydantic import Field

from hard.api import Confirm, Event, PluginConfig, Sink, SinkUnavailable, Stage
from hard_exec.child import Child, ChildGoneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SETTLE_S: Final = 0.2
"""A program that can't work at all ends by then: no need to take it for a good one first."""
_LINES_A_MINUTE: Final = 60
_SHOWN_BYTES: Final = 500


class ExecSinkConfig(PluginConfig):
    """Which program, whether it answers, how often it may be started again."""

    command: list[str] = Field(min_length=1)
    ack: bool = False
    ack_timeout_s: float = Field(30.0, gt=0, le=3600)
    grace_s: float = Field(1.0, ge=0, le=5)
    max_restarts: int = Field(5, ge=0, le=1000)
    restart_window_s: float = Field(300.0, gt=0, le=86400)


class ExecSink(Sink[ExecSinkConfig]):
    """Events as lines of JSON to a program of your own, started and watched by the daemon.

    An event is confirmed when it is in the program's input or, with `ack`, when the program has
    answered with its number.
    """

    Config = ExecSinkConfig
    write_timeout_s = 8.0
    """A program that has not read its input for so long is given up."""

    def __init__(self, name: str, config: ExecSinkConfig, node: str = "hard") -> None:
        super().__init__(name, config, node)
        self._child: Child | None = None
        self._changed = Condition()
        self._waiting: dict[int, tuple[float, Confirm]] = {}  # seq -> written when, whom to tell
        self._minute_s = 0.0
        self._said = 0
        self._window_end_s = 0.0
        self._starts = 0  # in this window

    def open(self) -> None:
        """Start the program; raise `SinkUnavailable` where it can't, may not, or ends at once."""
        command = self.config.command
        self._waiting.clear()
        self._spend_start()
        try:
            answered = self._answered if self.config.ack else None
            self._child = Child(self.name, command, self._heard, answered)
        except OSError as error:
            raise SinkUnavailable(
                f"can't run {command[0]!r} ({error.strerror}): install it, or name it by its "
                "absolute path"
            ) from error
        except ValueError as error:  # a NUL in an argument
            raise SinkUnavailable(f"can't run {command[0]!r}: {error}") from error
        self._look(_SETTLE_S)

    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Write a line for each event; raise `SinkUnavailable` where they are not read in time."""
        child = self._running()
        deadline_s = time.monotonic() + self.write_timeout_s
        for event in events:
            body = event.delivered(time.time_ns())
            line = json.dumps(body, allow_nan=False, separators=(",", ":")).encode() + b"\n"
            if self.config.ack and event.seq is not None:
                with self._changed:
                    self._waiting[event.seq] = time.monotonic(), confirm
            try:
                if not child.write(line, deadline_s):
                    raise SinkUnavailable(
                        f"{self.config.command[0]!r} has not read its input for "
                        f"{self.write_timeout_s:g} s: it is ended and started again"
                    )
            except ChildGoneError as gone:
                raise self._ended(str(gone)) from gone
            if not self.config.ack and event.seq is not None:
                confirm(event.seq)

    def check(self) -> None:
        """Raise `SinkUnavailable` where the program has ended, or owes an answer for too long."""
        self._look(0.0)
        with self._changed:
            written_s, _ = next(iter(self._waiting.values()), (time.monotonic(), None))
        if time.monotonic() > written_s + self.config.ack_timeout_s:
            raise SinkUnavailable(
                f"{self.config.command[0]!r} has not answered an event for "
                f"{self.config.ack_timeout_s:g} s: it must print its seq, a number a line, flushed"
            )

    def drain(self, timeout_s: float) -> None:
        """Wait for the answers, if there are to be any."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def close(self) -> None:
        """End the program's input, give it `grace_s`, then end it by force."""
        child, self._child = self._child, None
        if child is not None:
            child.close(self.config.grace_s)

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Look for the program; it is not started."""
        del timeout_s
        program = self.config.command[0]
        found = shutil.which(program)
        if found is None:
            remedy = "install it, or name it by its absolute path"
            yield Stage(
                "program", False, f"{program!r} is not to be found or not executable", remedy
            )
        else:
            yield Stage("program", True, found)

    def _spend_start(self) -> None:
        """Take a start out of the window's budget; raise `SinkUnavailable` while it is used up."""
        config, now_s = self.config, time.monotonic()
        if now_s >= self._window_end_s:
            self._window_end_s = now_s + config.restart_window_s
            self._starts, self.trouble = 0, None
        if self._starts <= config.max_restarts:
            self._starts += 1
            return
        if self.trouble is None:
            self.counts["budget_used_up"] += 1
            self.trouble = (
                f"failed: {config.command[0]!r} was started again {config.max_restarts} times "
                f"within {config.restart_window_s:g} s, is left alone until they are over, and its "
                "events wait: mend it (the daemon's log has what it said), then hard reload starts "
                "it at once"
            )
        raise SinkUnavailable(self.trouble)  # in the same words: it is the same outage

    def _running(self) -> Child:
        if self._child is None:
            raise SinkUnavailable("not open")
        return self._child

    def _look(self, timeout_s: float) -> None:
        child = self._running()
        if child.has_ended(timeout_s):
            raise self._ended(child.close(0.0))

    def _ended(self, how: str) -> SinkUnavailable:
        return SinkUnavailable(
            f"{self.config.command[0]!r} does not run any more ({how}): see in the daemon's log "
            "what it said"
        )

    # -- from the thread that reads its output ---------------------------------------------------

    def _heard(self, line: bytes) -> None:
        """Log what it says on stderr, so many lines a minute."""
        now_s = time.monotonic()
        if now_s >= self._minute_s + 60.0:
            self._minute_s, self._said = now_s, 0
        self._said += 1
        if self._said > _LINES_A_MINUTE:
            self.skip("unlogged_lines", f"it says more than {_LINES_A_MINUTE} lines a minute")
            return
        self.log.info("%s: %r", self.name, line[:_SHOWN_BYTES].decode("utf-8", "replace").rstrip())

    def _answered(self, line: bytes) -> None:
        """Confirm the event that it answers."""
        text = line.strip()
        seq = int(text) if text.isdigit() and len(text) < 20 else -1
        with self._changed:
            _, confirm = self._waiting.get(seq, (0.0, None))
        if confirm is None:
            shown = text[:_SHOWN_BYTES].decode("utf-8", "replace")
            self.skip("bad_acks", f"its answer {shown!r} is no seq that was asked for")
            return
        confirm(seq)
        with self._changed:  # only now, or `drain` would be over before
            self._waiting.pop(seq, None)
            self._changed.notify_all()
