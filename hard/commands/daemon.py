"""`hard status`, `hard label`, `hard calibrate`: what is asked of the running daemon."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import configuration_path, loaded
from hard.commands.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import fail, progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["app"]

app = typer.Typer()

_LOOK_S = 0.5
_AWAY_S = 15.0
_LONGEST_S = 100.0
"""A calibration is given up after a minute of samples, which may come late."""


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
    epilog="\b\nExamples:\n"
    "  hard calibrate phone-1\n"
    "  hard calibrate -c hard.toml --no-wait phone-1"
)
def calibrate(
    stream: Annotated[str, typer.Argument(help="A stream that the daemon hears.")],
    given: ConfigOption = None,
    *,
    wait: Annotated[bool, typer.Option(help="Say whether it worked: it may take a minute.")] = True,
) -> None:
    """Let the daemon learn which way is up, of a wearer upright."""
    config = configuration_path(given)
    _asked(config, "calibrate", stream=stream)
    typer.echo(f"{stream}: stand still and upright for 3 s, within a minute", err=True)
    if not wait:
        return
    with progress(f"{stream}:") as tell:
        fault = _why_not_calibrated(config, stream, tell or (lambda _: None))
    if fault is not None:
        fail(f"{stream}: not learned: {fault}; what was known before stands")
    typer.echo(f"{stream}: learned which way is up")


def _why_not_calibrated(config: Path, stream: str, tell: Callable[[str], None]) -> str | None:
    """Wait for the outcome of a calibration; return why it failed, None where it did not."""
    began_s = time.monotonic()
    while (waited_s := time.monotonic() - began_s) < _LONGEST_S:
        streams = {known["stream"]: known for known in _asked(config, "status")["streams"]}
        if stream not in streams:
            return "the daemon has forgotten the stream"
        outcome = streams[stream]["calibration"]
        if outcome == "learned":
            return None
        if outcome != "waiting":
            return "no 3 s of standing still were seen within a minute: stand still, then try again"
        if streams[stream]["age_s"] > _AWAY_S:
            return f"nothing has come for {_AWAY_S:.0f} s: let it send, then try again"
        tell(f"waiting for 3 s of standing still, {waited_s:.0f} s so far")
        time.sleep(_LOOK_S)
    return f"no outcome within {_LONGEST_S:.0f} s: its samples come too slowly"
