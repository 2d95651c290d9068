"""`hard status`, `hard label`, `hard calibrate`: what is asked of the running daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import configuration_path, loaded
from hard.commands.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import fail

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["app"]

app = typer.Typer()


def _asked(given: Path | None, command: str, **arguments: str) -> dict[str, Any]:
    """Ask the daemon of this configuration; exit where it can't or won't."""
    from hard import control  # noqa: PLC0415

    config = configuration_path(given)
    folder = loaded(config).settings.hard.state_dir
    try:
        return control.ask(control.places(folder, config), config, command, arguments)
    except control.ControlError as error:
        fail(error)


@app.command(epilog="\b\nExamples:\n  hard status\n  hard status -c hard.toml --json")
def status(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Tell what the running daemon hears, decides and delivers."""
    from hard.control import status_text  # noqa: PLC0415

    answer = _asked(config, "status")
    del answer["ok"]
    typer.echo(json.dumps(answer) if as_json else status_text(answer))


@app.command(
    epilog='\b\nExamples:\n  hard label phone-1 cycling\n  hard label -c hard.toml phone-1 ""'
)
def label(
    stream: Annotated[str, typer.Argument(help="A stream that is recorded.")],
    text: Annotated[str, typer.Argument(help='The label from now on; "" ends the one before.')],
    config: ConfigOption = None,
) -> None:
    """Label what is being recorded of a stream, from now on."""
    _asked(config, "label", stream=stream, text=text)
    typer.echo(f"{stream} is {text!r} from now on" if text else f"{stream}: the label ends here")


@app.command(
    epilog="\b\nExamples:\n  hard calibrate phone-1\n  hard calibrate -c hard.toml phone-1"
)
def calibrate(
    stream: Annotated[str, typer.Argument(help="A stream that the daemon hears.")],
    config: ConfigOption = None,
) -> None:
    """Tell the daemon that the wearer stands still and upright now."""
    _asked(config, "calibrate", stream=stream)
    typer.echo(f"{stream}: stand still and upright for 3 s, within a minute")
