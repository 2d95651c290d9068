"""What the commands share at the terminal: errors and exit codes, interrupts, progress."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BAD_CONFIGURATION",
    "BAD_USAGE",
    "INTERRUPTED",
    "fail",
    "on_interrupt",
    "progress",
    "require_matplotlib",
]

BAD_USAGE = 2
BAD_CONFIGURATION = 78  # EX_CONFIG of sysexits.h; the unit does not restart on it
INTERRUPTED = 130


def fail(message: object, code: int = 1) -> NoReturn:
    """Say what is wrong and exit."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def has_terminal() -> bool:
    """Tell whether this process belongs to a terminal, which sends SIGHUP when it closes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def require_matplotlib() -> None:
    """Exit where `--plot` can't be had."""
    if find_spec("matplotlib") is None:
        fail(f"--plot needs matplotlib: {sys.executable} -m pip install matplotlib")


@contextlib.contextmanager
def on_interrupt(stop: Callable[[], None], *, hangup: bool = True) -> Iterator[list[int]]:
    """Call `stop` on Ctrl-C, SIGTERM or SIGHUP instead of dying; the list says whether it came.

    Without `hangup` SIGHUP does nothing.
    """
    came: list[int] = []

    def note(number: int, _: object) -> None:
        came.append(number)
        stop()

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, note if hangup else signal.SIG_IGN)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def progress(what: str = "") -> Iterator[Callable[[Any], None] | None]:
    """Show on a terminal how much data is done, or `what` with a word; in a pipe nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415

    shown = Spinner("dots", text=what or "reading …")
    # What is printed meanwhile goes above the line, unless it goes elsewhere than the terminal.
    both = sys.stdout.isatty()
    with Live(shown, console=Console(stderr=True), transient=True, redirect_stdout=both):
        if what:
            yield lambda word: shown.update(text=f"{what} {word}")
        else:
            yield lambda seconds: shown.update(text=f"{seconds / 60:.1f} min of data done")
