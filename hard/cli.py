"""The command line: puts the commands of `hard.commands` together, and says how it logs.

Exit codes: 0 clean, 1 failure, 2 bad usage, 78 bad configuration, 130 interrupted.  Called by
`hard.__main__`.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hard.commands import (
    daemon,
    evaluation,
    events,
    home_assistant,
    init,
    live,
    models,
    recordings,
    service,
    setup,
    state,
    top,
    trial,
)

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """All commands; each takes `-v` behind its name as well."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        verbose = next(option for option in self.params if option.name == "verbose")
        waiting = list(self.commands.values())
        while waiting:
            command = waiting.pop()
            command.params.append(verbose)
            waiting += getattr(command, "commands", {}).values()

    def invoke(self, ctx: Any) -> Any:
        """Run a command; say in plain words why a number is none."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # Where typer asks pydantic.
            faults: list[Any] = getattr(error.__cause__, "errors", list)()
            if faults and faults[0]["type"] in _FAULTS:
                fault = _FAULTS[faults[0]["type"]].format(**faults[0].get("ctx", {}))
                error.message = f"{faults[0]['input']!r} is {fault}"
            raise


_FAULTS = {
    "float_parsing": "no number",
    "int_parsing": "no whole number",
    "greater_than_equal": "less than {ge:g}",
    "less_than_equal": "more than {le:g}",
}

app = typer.Typer(
    name="hard",
    cls=_Commands,
    help="Human Activity Recognition Daemon: motion sensors in, trustworthy activity events out.",
    epilog="Start with: hard simulate walk.csv && hard replay walk.csv",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (init, recordings, evaluation, live, daemon, top, state, setup, trial):
    app.add_typer(group.app)
app.add_typer(events.app, name="events")
app.add_typer(models.app, name="models")
app.add_typer(setup.sources_app, name="sources")
app.add_typer(service.app, name="service")
app.add_typer(home_assistant.app, name="ha")


def main() -> None:
    """Run the command line; the entry point of the script `hard`."""
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        from hard.card import ModelCard, bundled  # noqa: PLC0415
        from hard.proofs import runtime  # noqa: PLC0415

        identities = (ModelCard.load(name)[0].identity for name in bundled())
        typer.echo(f"hard {version('hard-daemon')}\n{runtime()}\n{', '.join(identities)}")
        raise typer.Exit


def _verbose(wanted: bool) -> None:
    if wanted:
        logging.getLogger().setLevel(logging.DEBUG)


@app.callback()
def options(
    *,
    verbose: Annotated[  # noqa: ARG001 - handled by its callback
        bool,
        typer.Option("-v", "--verbose", callback=_verbose, expose_value=False, help="Log more."),
    ] = False,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the versions of hard, runtime and models.",
        ),
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    # The journal keeps time and unit itself; it wants the level in front (sd-daemon(3)).
    journal = "JOURNAL_STREAM" in os.environ
    logging.basicConfig(
        stream=sys.stderr,
        format="%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )
    if journal:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_JournalFormatter())


class _JournalFormatter(logging.Formatter):
    """Put systemd's priority before each message: <3> error, <4> warning, <6> info, <7> debug."""

    def format(self, record: logging.LogRecord) -> str:
        priority = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return f"<{priority}>{super().format(record)}"
