"""`hard top`: what the running daemon hears, decides and delivers, live on a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import configuration_path
from hard.commands.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import fail, on_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.text import Text

__all__ = ["app", "frame"]

app = typer.Typer()

_WIDE = 76
"""Columns from which probabilities stand beside their stream, and not below it."""
_EVENTS = 8
_LOOK_S = 0.1
"""A key and a signal are noticed within so long."""
_PROBS = 3
_STYLES = {"ok": "green", "running": "green", "ended": "", "rejected": "bold red", "failed": "red"}


@app.command(
    epilog="\b\nExamples:\n  hard top\n  hard top -c hard.toml --every 0.5\n  hard top --once\n"
    "q or Ctrl-C ends it."
)
def top(
    config: ConfigOption = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one picture, as in a pipe.")] = False,
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Look so often (s).")] = 1.0,
) -> None:
    """Watch streams, events and sinks of the running daemon, live."""
    from hard import control  # noqa: PLC0415
    from hard.config import state_folder  # noqa: PLC0415

    path = configuration_path(config)

    def ask() -> dict[str, Any]:
        return control.ask(control.places(state_folder(path), path), path, "status")

    try:
        first = ask()
    except control.ControlError as error:
        fail(error)
    if once or not sys.stdout.isatty():
        _print(first)
        return
    _watch(first, ask, every)


def _print(answer: Mapping[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for line in frame(answer, console.width):
        console.print(line)


def _watch(first: Mapping[str, Any], ask: Callable[[], dict[str, Any]], every_s: float) -> None:
    """Show one picture after the other until q, Ctrl-C or the terminal's end."""
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from hard.control import ControlError  # noqa: PLC0415

    console = Console(highlight=False)
    answer, away = first, ""

    def picture() -> Text:
        from rich.text import Text  # noqa: PLC0415

        lines = frame(answer, console.width, console.height, away=away)
        return Text("\n").join(lines)

    with (
        on_interrupt(lambda: None) as asked,
        _keys(asked) as key,
        Live(picture(), console=console, screen=True, auto_refresh=False) as live,
    ):
        while key(every_s) not in {"q", "Q", "\x03"} and not asked:
            try:
                answer, away = ask(), ""
            except ControlError as error:
                away = str(error)
            live.update(picture(), refresh=True)


@contextlib.contextmanager
def _keys(asked: Sequence[int]) -> Iterator[Callable[[float], str]]:
    """Yield what waits for a key, "" without one in so many seconds or once `asked` to end.

    The terminal is put back as it was.
    """
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number) if sys.stdin.isatty() else None

    def key(timeout_s: float) -> str:
        end_s = time.monotonic() + timeout_s
        while not asked and (left_s := end_s - time.monotonic()) > 0:
            heard = [number] if before else []
            if select.select(heard, [], [], min(left_s, _LOOK_S))[0]:
                return os.read(number, 1).decode("latin-1") or "q"  # the terminal has gone
        return ""

    try:
        if before is not None:
            tty.setcbreak(number)
        yield key
    finally:
        if before is not None:
            termios.tcsetattr(number, termios.TCSADRAIN, before)


# -- the picture ---------------------------------------------------------------------------------


def frame(
    answer: Mapping[str, Any], width: int, height: int | None = None, *, away: str = ""
) -> list[Text]:
    """Return what a status says as lines of at most `width` cells, and `height` of them.

    `away` is why there is no newer one.  What has no room is left out from the streams' end, and
    said.
    """
    above = [*_head(answer, away), _line("")]
    below = [*_plugins(answer), *_events(answer)]
    room = None if height is None else max(3, height - len(above) - len(below) - 1)
    lines = [*above, *_streams(answer, width, room), *below]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def _line(*parts: str | tuple[str, str]) -> Text:
    """Return a line of text, no part of which can move the cursor."""
    from rich.text import Text  # noqa: PLC0415

    line = Text(no_wrap=True)
    for part in parts:
        text, style = part if isinstance(part, tuple) else (part, "")
        line.append("".join(c if c.isprintable() else "?" for c in text), style)
    return line


def _head(answer: Mapping[str, Any], away: str) -> list[Text]:
    up_s = int(answer["up_s"])
    up = f"{up_s // 86400} d {up_s % 86400 // 3600:02d}:{up_s // 60 % 60:02d}:{up_s % 60:02d}"
    what = f" {answer['version']}  up {up}  {answer['events']} events"
    lines = [_line((f"{answer['node']}", "bold"), f"  hard{what}")]
    if away:
        lines.append(_line((f"NOT THERE, trying again: {away}", "bold red")))
    if answer["degraded"]:
        lines.append(_line((f"degraded: {answer['degraded']}", "yellow")))
    return lines


def _streams(answer: Mapping[str, Any], width: int, room: int | None) -> list[Text]:
    """Return the streams by name, as many as there is room for."""
    streams = sorted(answer["streams"], key=lambda stream: str(stream["stream"]))
    name_width = min(max([6, *(len(s["stream"]) for s in streams)]), max(8, width // 3))
    wide = width >= _WIDE
    lines = [
        _line((f"{'stream':{name_width}}  {'now':11} {'sure':>4} {'Hz':>5} {'s ago':>6}", "dim"))
    ]
    left = len(streams)
    for stream in streams:
        entry = _stream(stream, name_width, wide=wide)
        if room is not None and len(lines) + len(entry) >= room and left > 1:
            break
        lines += entry
        left -= 1
    beyond = left + answer["known_streams"] - len(streams)
    if beyond > 0:
        lines.append(_line((f"and {beyond} more: hard status lists them", "dim")))
    if not streams:
        lines.append(_line("no stream yet: hard doctor looks for the cause"))
    return lines


def _stream(stream: Mapping[str, Any], name_width: int, *, wide: bool) -> list[Text]:
    status = stream["status"] or "undecided"
    now = stream["activity"] or status
    sure = "" if stream.get("confidence") is None else f"{stream['confidence']:.0%}"
    rate_hz = max(stream["rate_hz"].values(), default=0.0)
    name = stream["stream"]
    shown = name if len(name) <= name_width else f"{name[: name_width - 1]}~"
    row: list[str | tuple[str, str]] = [
        (f"{shown:{name_width}}", "bold"),
        "  ",
        (f"{now:11}", _STYLES.get(status, "yellow")),
        f" {sure:>4} {rate_hz:5.0f} {stream['age_s']:6.1f}",
    ]
    probs = sorted(stream.get("probs", {}).items(), key=lambda item: -item[1])[:_PROBS]
    bars = [(f"{label} {p:.2f} {'#' * round(p * 10)}  ", "cyan") for label, p in probs if p >= 0.01]
    told = [stream[key] for key in ("reason", "clock") if stream.get(key)]
    lines = [_line(*row, "  ", *(bars if wide else []))]
    if not wide and bars:
        lines.append(_line("  ", *bars))
    return lines + [_line((f"  {why}", "yellow")) for why in told]


def _plugins(answer: Mapping[str, Any]) -> list[Text]:
    lines = [_line("")]
    for kind in ("source", "sink"):
        for plugin in answer[f"{kind}s"]:
            state = plugin["state"]
            backlog = f"  backlog {plugin['backlog']}" if kind == "sink" else ""
            why = f"  {plugin['why']}" if plugin.get("why") else ""
            name = (f"{plugin['name']}", "bold")
            style = _STYLES.get(state, "yellow")
            lines.append(_line(f"{kind:6} ", name, " ", (state, style), f"{backlog}{why}"))
    return lines


def _events(answer: Mapping[str, Any]) -> list[Text]:
    """Return the last events, the newest first, times by this machine's zone."""
    events = answer.get("recent", [])[-_EVENTS:]
    lines = [_line("")] if events else []
    for event in reversed(events):
        when = datetime.fromtimestamp(event["t_decided_ns"] / 1e9).astimezone()
        what = event["activity"] or event["status"]
        why = f"  {event['reason']}" if event["reason"] else ""
        kind = event["event_type"]
        lines.append(_line(f"{when:%H:%M:%S}  {event['stream']}  {kind} ", (what, "bold"), why))
    return lines
