"""`hard status`, `label`, `calibrate`, `pause`, `resume`, `reload`: asked of the running daemon."""

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


_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _asked(given: Path | None, command: str, **arguments: Any) -> dict[str, Any]:
    """Ask the daemon of this configuration; exit where it can't or won't."""
    from hard import control  # noqa: PLC0415
    from hard.config import state_folder  # noqa: PLC0415

    config = configuration_path(given)
    # The daemon may run on with what a configuration was before it had errors.
    places = control.places(state_folder(config), config)
    try:
        return control.ask(places, config, command, arguments)
    except control.NoDaemonError as error:
        loaded(config)  # its errors, if any, are why none was found
        fail(error)
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


def _seconds(text: str) -> float:
    """Return seconds of `90`, `90s`, `5m`, `1h` or `2d`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNIT_S else (text, "s")
    try:
        seconds = float(number) * _UNIT_S[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 366 * _UNIT_S["d"]:
        raise typer.BadParameter(f"{text!r}: give a time such as 90s, 30m, 1h or 2d")
    return seconds


@app.command(epilog="\b\nExamples:\n  hard pause phone-1\n  hard pause phone-1 --for 1h")
def pause(
    stream: Annotated[str, typer.Argument(help="A stream that the daemon hears.")],
    config: ConfigOption = None,
    *,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long: 90s, 30m, 1h, 2d; else until resumed.")
    ] = None,
) -> None:
    """Recognise nothing of a stream until it is resumed.

    What it sends meanwhile is counted and left out.
    """
    for_s = None if for_ is None else _seconds(for_)
    _asked(config, "pause", stream=stream, **({} if for_s is None else {"for_s": for_s}))
    until = f"until hard resume {stream}" if for_s is None else f"for {for_s:g} s"
    typer.echo(f"{stream} is paused {until}; a recording goes on")


@app.command(epilog="\b\nExamples:\n  hard resume phone-1\n  hard resume -c hard.toml phone-1")
def resume(
    stream: Annotated[str, typer.Argument(help="A stream that is paused.")],
    config: ConfigOption = None,
) -> None:
    """Recognise a paused stream again."""
    _asked(config, "resume", stream=stream)
    typer.echo(f"{stream} is recognised again")


@app.command(epilog="\b\nExamples:\n  hard reload\n  hard reload -c /etc/hard/hard.toml")
def reload(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Apply what changed in the configuration, or nothing of it.

    One error in it, and the old one runs on.
    """
    answer = _asked(config, "reload")
    del answer["ok"]
    if as_json:
        typer.echo(json.dumps(answer))
        return
    for line in [*answer["changed"], *answer["needs_restart"]]:
        typer.echo(line)
    if not answer["changed"] and not answer["needs_restart"]:
        typer.echo("nothing has changed")
