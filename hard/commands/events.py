"""`hard events`: what the event log holds, and delivering it again."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import configuration_path, event_log, loaded, log_path
from hard.commands.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import BAD_USAGE, INTERRUPTED, fail, on_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hard.api import Event
    from hard.eventfile import Wanted

__all__ = ["app"]

app = typer.Typer()

_WHEN = '"2h" (ago; s, m, h, d), "06:00", yesterday, a date, or RFC 3339'


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExamples:\n"
    "  hard events -n 20\n"
    "  hard events --stream 'phone-*' --since 7d --activity walking\n"
    "  hard events --since yesterday --until 06:00\n"
    "  hard events --since 2026-05-01 --until 2026-06-01 --csv > may.csv\n"
    "  hard events --follow --json\n"
    "  hard events redeliver home --from 2h",
)
def events(
    context: typer.Context,
    config: ConfigOption = None,
    *,
    stream: Annotated[str | None, typer.Option(help="Of these streams only (glob).")] = None,
    since: Annotated[str | None, typer.Option(help=f"Decided since: {_WHEN}.")] = None,
    until: Annotated[str | None, typer.Option(help="Decided before; likewise.")] = None,
    activity: Annotated[str | None, typer.Option(help="Of this activity only.")] = None,
    kind: Annotated[str | None, typer.Option(help="enter, exit or status.")] = None,
    newest: Annotated[int | None, typer.Option("-n", min=1, help="The newest so many.")] = None,
    follow: Annotated[bool, typer.Option(help="Then go on with those that come.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print lines of JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Tell what the event log holds, of a running daemon too."""
    if context.invoked_subcommand is not None:
        return
    from hard.eventfile import EventLogError, Wanted  # noqa: PLC0415

    if as_json and as_csv:
        fail("--json or --csv, not both", BAD_USAGE)
    if kind is not None and kind not in {"enter", "exit", "status"}:
        fail(f"--kind: {kind!r} is none: enter, exit or status", BAD_USAGE)
    path = log_path(configuration_path(config))
    since_ns, until_ns = (None if text is None else _time_ns(text) for text in (since, until))
    wanted = Wanted(stream, since_ns, until_ns, activity, kind)
    show = _shown(as_json=as_json, as_csv=as_csv)
    unreadable: set[int] = set()
    try:
        for event in _chosen(path, wanted, newest, unreadable.add, follow=follow):
            show(event)
    except EventLogError as error:
        fail(error)
    finally:
        if unreadable:
            n = len(unreadable)
            typer.echo(f"{path}: {n} events can't be read and are left out", err=True)


def _chosen(
    path: Path,
    wanted: Wanted,
    newest: int | None,
    skip: Callable[[int], object],
    *,
    follow: bool,
) -> Iterator[Event]:
    """Yield what is asked for; Ctrl-C ends following, and the command."""
    import threading  # noqa: PLC0415

    from hard.history import followed, listed  # noqa: PLC0415

    if not follow:
        yield from listed(path, wanted, newest, skip)
        return
    stop = threading.Event()
    with on_interrupt(stop.set):
        yield from followed(path, wanted, stop.wait, newest, skip)
    raise typer.Exit(INTERRUPTED)


def _shown(*, as_json: bool, as_csv: bool) -> Callable[[Event], None]:
    """Return how an event is printed; each at once, whoever reads."""
    from hard.history import HEADER, EventCsv, told  # noqa: PLC0415
    from hard.zones import machine_zone  # noqa: PLC0415

    out, zone = sys.stdout, machine_zone()
    table = EventCsv(out) if as_csv else None

    above = [] if as_csv or as_json else [f"{HEADER}\n"]  # not where there is nothing to tell

    def show(event: Event) -> None:
        if table is not None:
            table.write(event)
        else:
            out.write(above.pop() if above else "")
            out.write(f"{json.dumps(event.payload()) if as_json else told(event, zone)}\n")
        out.flush()

    return show


@app.command(
    epilog="\b\nExamples:\n"
    "  hard events redeliver home --from 2h\n"
    "  hard events redeliver home --from 1200 --stream phone-1"
)
def redeliver(
    sink: Annotated[str, typer.Argument(help="A sink of the configuration.")],
    config: ConfigOption = None,
    *,
    begin: Annotated[
        str, typer.Option("--from", help=f"The first: its number (seq), or since {_WHEN}.")
    ],
    stream: Annotated[str | None, typer.Option(help="Of this stream only.")] = None,
) -> None:
    """Deliver events to a sink again; who has seen them knows them by their id."""
    from hard import control  # noqa: PLC0415

    config = configuration_path(config)
    settings = loaded(config).settings
    place: dict[str, Any] = (
        {"after_seq": max(0, int(begin) - 1)}
        if begin.isdecimal()
        else {"since_ns": _time_ns(begin)}
    )
    given = {**place, **({} if stream is None else {"stream": stream})}
    places = control.places(settings.hard.state_dir, config)
    try:
        answer = control.ask(places, config, "redeliver", {"sink": sink, **given})
        typer.echo(f"{answer['events']} events are delivered again to {sink}")
    except control.NoDaemonError:
        n = _on_file(config, sink, given)
        typer.echo(f"no daemon runs: {n} events go to {sink} again once it does")
    except control.ControlError as error:
        fail(error)


def _on_file(config: Path, sink: str, given: dict[str, Any]) -> int:
    """Move the sink's place in the file that no daemon uses; return how many events follow."""
    from hard.eventlog import EventLogError, again  # noqa: PLC0415

    settings = loaded(config).settings
    if sink not in settings.sinks:
        there = ", ".join(settings.sinks) or "none"
        fail(f"{config}: no sink is named {sink!r}; there are: {there}")
    path = log_path(config)
    if not path.exists():
        fail(f"{path}: no event log is there: has the daemon run with it?")
    log = event_log(settings, path.parent)
    try:
        place = given.get("after_seq"), given.get("since_ns"), given.get("stream")
        return again(log, log.cursor(sink), *place)
    except EventLogError as error:
        fail(error)
    finally:
        log.close()


def _time_ns(text: str) -> int:
    from hard.history import time_ns  # noqa: PLC0415
    from hard.zones import machine_zone  # noqa: PLC0415

    try:
        return time_ns(text, time.time_ns(), machine_zone())
    except ValueError as error:
        fail(error, BAD_USAGE)
