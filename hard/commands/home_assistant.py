"""`hard ha`: what Home Assistant, and whoever else reads retained messages, is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import Models, configuration_path, loaded
from hard.commands.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import fail

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hard.config import Configuration

__all__ = ["app"]

app = typer.Typer(help="What Home Assistant shows.", no_args_is_help=True)

_DRAIN_S = 5.0
_LIST_S = 10.0


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


@app.command("list", epilog="\b\nExamples:\n  hard ha list\n  hard ha list -c hard.toml --json")
def list_(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """List what the broker holds of this node's announcements; beside a running daemon too."""
    from hard.api import Sink, SinkUnavailable  # noqa: PLC0415

    path = configuration_path(config)
    shown, away = 0, False
    for name, sink in loaded(path).sinks.items():
        if type(sink).announced is Sink.announced:
            continue
        try:
            for topic, payload in sorted(sink.announced(_LIST_S)):
                shown += 1
                body = json.loads(payload)
                line = {"sink": name, "topic": topic, "bytes": len(payload), **_device(body)}
                told = f"{name}: {topic}: {line['name']!r}, {line['components']} entities"
                typer.echo(json.dumps(line) if as_json else told)
        except SinkUnavailable as error:
            typer.echo(f"{name}: {error}", err=True)
            away = True
    if not shown and not away:
        typer.echo("nothing is announced: has a daemon run with such a sink?", err=True)
    if away:
        raise typer.Exit(1)


def _device(body: Mapping[str, Any]) -> dict[str, Any]:
    device = body["device"]
    return {"name": device.get("name"), "components": len(body.get("components", ()))}


@app.command(epilog="\b\nExamples:\n  hard ha show phone-1\n  hard ha show -c hard.toml phone-1")
def show(
    stream: Annotated[str, typer.Argument(help="A stream, heard or not.")],
    config: ConfigOption = None,
) -> None:
    """Print what would announce a stream, by the configuration as it is.  Nothing is sent."""
    path = configuration_path(config)
    configuration = loaded(path)
    description = Models(configuration.settings).describe(stream, "")
    found = 0
    for name, sink in configuration.sinks.items():
        for topic, payload in sink.announcement(description).items():
            found += 1
            typer.echo(f"{name}: {topic}", err=True)
            typer.echo(json.dumps(json.loads(payload), indent=2, ensure_ascii=False))
    if not found:
        fail(f'{path}: none of its sinks announces anything: add one with plugin = "mqtt"')


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
