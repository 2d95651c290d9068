"""`hard service`: the daemon as a service of systemd, put in place, looked at, taken away."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from hard.commands.terminal import fail

if TYPE_CHECKING:
    from hard.service import Step

__all__ = ["app"]

app = typer.Typer(help="Run as a service of systemd.", no_args_is_help=True)

InstanceOption = Annotated[
    str | None,
    typer.Option(help="One of several services: hard@NAME, with /etc/hard/NAME.toml."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


@app.command(
    epilog="\b\nExamples:\n"
    "  sudo .venv/bin/hard service install\n"
    "  sudo .venv/bin/hard service install --dry-run\n"
    "  sudo .venv/bin/hard service install --wheels wheels/\n"
    "  sudo hard service install --instance garage"
)
def install(
    *,
    dry_run: DryRunOption = False,
    instance: InstanceOption = None,
    wheels: Annotated[
        Path | None, typer.Option(help="Install from this folder of wheels, without a network.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="What to install: a wheel, a checkout, or hard-daemon==….")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for the broker's password and keep it.")
    ] = False,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Start it as soon as it is in place.")
    ] = True,
) -> None:
    """Put the service in place in /opt/hard and start it, now and at boot.

    A configuration that is there is kept.  Doing it again brings everything up to date.
    """
    from hard.service import Places, ServiceError, install_plan, unit_of  # noqa: PLC0415

    _need_systemd()
    secret = _asked_password() if password and not dry_run else None
    try:
        steps = install_plan(
            Places(),
            instance=instance,
            source=source,
            wheels=wheels,
            secret=secret,
            start=start,
        )
        unit = unit_of(instance)
    except ServiceError as error:
        fail(error)
    _go(steps, dry_run=dry_run)
    if not dry_run:
        config = Places().configuration(instance)
        typer.echo(
            f"{unit} is in place.  Next:\n"
            f"  its configuration: {config}; check it: hard check -c {config}\n"
            f"  after a change: systemctl reload-or-restart {unit}\n"
            f"  how it is: hard service status; what it says: hard service logs -f",
            err=True,
        )


@app.command(
    epilog="\b\nExamples:\n"
    "  sudo hard service uninstall\n"
    "  sudo hard service uninstall --purge --yes"
)
def uninstall(
    *,
    dry_run: DryRunOption = False,
    instance: InstanceOption = None,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Also configuration, event log, recordings and password."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the service and take it away; what was recorded and configured stays without --purge."""
    from hard.service import Places, ServiceError, uninstall_plan  # noqa: PLC0415

    _need_systemd()
    try:
        steps = uninstall_plan(Places(), instance=instance, purge=purge)
    except ServiceError as error:
        fail(error)
    if purge and not dry_run and not yes and not sys.stdin.isatty():
        fail("this removes everything: confirm it with --yes", 2)
    _go(steps, dry_run=dry_run, ask="Remove all of this for good?" if purge and not yes else None)


@app.command(epilog="\b\nExamples:\n  hard service status\n  hard service status --instance garage")
def status(*, instance: InstanceOption = None) -> None:
    """Show what systemd knows of the service."""
    _become("systemctl", "status", "--no-pager", "--lines=5", _unit(instance))


@app.command(epilog="\b\nExamples:\n  hard service logs\n  hard service logs -f")
def logs(
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="So many of the last.")] = 50,
    instance: InstanceOption = None,
) -> None:
    """Show what the service has logged."""
    follows = ["--follow"] if follow else []
    command = ("journalctl", "--no-pager", f"--lines={lines}", *follows)
    _become(*command, "--unit", _unit(instance))


def _unit(instance: str | None) -> str:
    from hard.service import ServiceError, unit_of  # noqa: PLC0415

    try:
        return unit_of(instance)
    except ServiceError as error:
        fail(error, 2)


def _need_systemd() -> None:
    if shutil.which("systemctl") is None:
        fail("there is no systemd on this machine: run `hard run -c hard.toml` under what it has")


def _become(*command: str) -> NoReturn:
    """Go on as another program, which has the terminal and the exit code."""
    _need_systemd()
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def _asked_password() -> str:
    if sys.stdin.isatty():
        answer: str = typer.prompt("The broker's password", hide_input=True, err=True)
        return answer
    return sys.stdin.readline().rstrip("\n")


def _go(steps: list[Step], *, dry_run: bool, ask: str | None = None) -> None:
    """Show the steps, ask for consent where a question is given, and do them."""
    from hard.service import ServiceError, done  # noqa: PLC0415

    if not dry_run and os.geteuid() != 0:
        fail(f"this needs root: sudo {' '.join([sys.argv[0], *sys.argv[1:]])}")
    if not steps:
        typer.echo("nothing to do", err=True)
    for step in steps:
        typer.echo(f"{step.what}: {step.shown}", err=not dry_run)
    if dry_run:
        return
    if ask is not None:
        typer.confirm(ask, abort=True, err=True)
    try:
        done(steps, lambda step: typer.echo(f"... {step.what}", err=True))
    except ServiceError as error:
        fail(error)
