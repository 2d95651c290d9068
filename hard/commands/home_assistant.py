"""`hard ha`: what Home Assistant, and whoever else reads retained messages, is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hard.commands.configured import configuration_path, loaded
from hard.commands.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import fail

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hard.config import Configuration

__all__ = ["app"]

app = typer.Typer(help="What Home Assistant shows.", no_args_is_help=True)

_DRAIN_S = 5.0


@app.callback()
def ha() -> None:
    """Look after what Home Assistant shows."""


@app.command(
    epilog="\b\nExamples:\n  hard ha remove phone-1\n  hard ha remove -c hard.toml phone-1"
)
def remove(
    stream: Annotated[str, typer.Argument(help="A stream that is not wanted any more.")],
    config: ConfigOption = None,
) -> None:
    """Remove a stream's device from Home Assistant, and all that is retained of it.

    With a daemon running or without; the event log keeps what it has.  A stream that sends again
    comes back.
    """
    from hard import control  # noqa: PLC0415

    path = configuration_path(config)
    configuration = loaded(path)
    folder = configuration.settings.hard.state_dir
    try:
        places = control.places(folder, path)
        done = control.ask(places, path, "clear", {"stream": stream})["sinks"]
    except control.NoDaemonError:
        done = _removed_alone(configuration, stream)
    except control.ControlError as error:
        fail(error)
    _tell(done, stream, path)


def _removed_alone(configuration: Configuration, stream: str) -> dict[str, bool]:
    """Let each sink that shows anything remove the stream; return sink -> whether it did."""
    from hard.api import Sink, SinkUnavailable  # noqa: PLC0415

    done = {}
    for name, sink in configuration.sinks.items():
        if type(sink).forget is Sink.forget:
            continue
        try:
            sink.open()
            sink.forget(stream)
            sink.drain(_DRAIN_S)
            sink.check()
            done[name] = True
        except SinkUnavailable as error:
            typer.echo(f"{name}: {error}", err=True)
            done[name] = False
        finally:
            sink.close()
    return done


def _tell(done: Mapping[str, bool], stream: str, config: Path) -> None:
    if left := [name for name, has in done.items() if not has]:
        fail(f"{stream}: {', '.join(left)} could not be reached; a running daemon does it later")
    if not done:
        fail(f'{config}: none of its sinks shows anything: add one with plugin = "mqtt"')
    typer.echo(f"{stream}: removed at {', '.join(done)}; should it send again, it comes back")
