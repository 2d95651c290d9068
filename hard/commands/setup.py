"""`hard check`, `doctor`, `sources scan`, `plugins`, `schema`: what is asked while setting up."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hard.commands.configured import configuration_path, default_path, loaded, state_kept
from hard.commands.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import BAD_CONFIGURATION, BAD_USAGE, fail, progress

if TYPE_CHECKING:
    from hard.plugins import Plugin

__all__ = ["app", "sources_app"]

app = typer.Typer()
sources_app = typer.Typer(
    help="Find sensors.", no_args_is_help=True, epilog="\b\nExamples:\n  hard sources scan"
)

SecondsOption = Annotated[
    float, typer.Option(min=0.1, max=600, help="How long each plugin may take (s).")
]


@app.command(epilog="\b\nExamples:\n  hard check\n  hard check -c hard.toml --json")
def check(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """Check a configuration: print every error, or what is in force.  Nothing is changed."""
    from hard.doctor import socket_fault  # noqa: PLC0415

    config = configuration_path(config)
    configuration = loaded(config, ["sources", "sinks", "folders"])
    if fault := socket_fault(configuration.settings, config):
        fail(f"{config}: hard.state_dir: {fault}", BAD_CONFIGURATION)
    effective = configuration.effective()
    if as_json:
        typer.echo(json.dumps(effective))
    else:
        for key, value in effective.items():
            typer.echo(f"{key} = {'(none)' if value is None else json.dumps(value)}")
    for key in configuration.unchecked():
        typer.echo(
            f"note: {key}: a credential of systemd, to be checked in the service only", err=True
        )
    for group, instances in (("sources", configuration.sources), ("sinks", configuration.sinks)):
        for name, instance in instances.items():
            for key, told in instance.advice():
                typer.echo(f"note: {group}.{name}.{key}: {told}", err=True)
    names = [*configuration.sources, *configuration.sinks]
    typer.echo(f"{config}: ok ({', '.join(names)}); hard doctor tries them out", err=True)


@app.command(epilog="\b\nExamples:\n  hard plugins\n  hard plugins --json")
def plugins(*, as_json: JsonOption = False) -> None:
    """List the installed plugins, and why one can't be used."""
    from dataclasses import asdict  # noqa: PLC0415

    from hard.plugins import available  # noqa: PLC0415

    found = [*available("sources"), *available("sinks")]
    group = ""
    for plugin in found:
        if as_json:
            typer.echo(json.dumps(asdict(plugin)))
            continue
        if plugin.group != group:
            above, group = "\n" if group else "", plugin.group
            typer.echo(f'{above}{group}: what plugin = "..." can be under [{group}.NAME]')
        typer.echo(_plugin_line(plugin))
    if any(plugin.state != "ok" for plugin in found):
        raise typer.Exit(1)


def _plugin_line(plugin: Plugin) -> str:
    broken = "" if plugin.state == "ok" else f"BROKEN, from {plugin.distribution}: "
    return f"  {plugin.name:10}  {broken}{plugin.detail}"


@sources_app.command(
    epilog="\b\nExamples:\n  hard sources scan\n  hard sources scan --seconds 10 --json"
)
def scan(*, seconds: SecondsOption = 5.0, as_json: JsonOption = False) -> None:
    """Look for sensors that the installed sources could read."""
    from dataclasses import asdict  # noqa: PLC0415

    from hard.doctor import scan_sources, settings_toml  # noqa: PLC0415

    def say(plugin: str) -> None:
        typer.echo(f"{plugin}: looking, up to {seconds:g} s", err=True)

    found = 0
    with progress("looking:") as tell:
        for plugin, thing in scan_sources(seconds, tell or say):
            found += 1
            if as_json:
                typer.echo(json.dumps({"plugin": plugin, **asdict(thing)}))
                continue
            typer.echo(f"{plugin}: {thing.address}: {thing.detail}")
            if thing.settings:  # else nothing there can be read
                typer.echo(settings_toml(plugin, thing.settings))
    if not found and not as_json:
        typer.echo("nothing found: is it switched on, plugged in, on this network?", err=True)


@app.command(
    epilog="\b\nExamples:\n  hard doctor\n  hard doctor -c hard.toml --json\n"
    "  hard doctor --bundle hard-bundle.tar.gz"
)
def doctor(
    config: ConfigOption = None,
    *,
    seconds: SecondsOption = 5.0,
    as_json: JsonOption = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Also collect what helps to find a fault, without secrets (tar.gz)."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="For it: a file that the daemon logs into, instead of the journal."),
    ] = None,
) -> None:
    """Look at clock, models and state, and try every source and sink."""
    from dataclasses import asdict  # noqa: PLC0415

    from hard.doctor import examine, stage_text  # noqa: PLC0415

    failed, told = False, []
    for part, stage in examine(config or default_path(), seconds):
        failed = failed or stage.ok is False
        lines = stage_text(part, stage)
        told += lines
        typer.echo(json.dumps({"part": part, **asdict(stage)}) if as_json else "\n".join(lines))
    if bundle is not None:
        _bundle(bundle, config or default_path(), told, log)
    if failed:
        raise typer.Exit(1)


def _bundle(file: Path, config: Path | None, told: list[str], log: Path | None) -> None:
    """Write what helps to find a fault; say what is in it."""
    from hard.bundle import write_bundle  # noqa: PLC0415

    try:
        folder = None if config is None else state_kept(config)
        events = None if folder is None else folder / "events.db"
        contents = write_bundle(file, config, events, told, log)
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror}")
    typer.echo(f"{file} holds, without samples, events, passwords and names:", err=True)
    for line in contents:
        typer.echo(f"  {line}", err=True)
    typer.echo("look through it before you give it away: tar xzOf FILE | less", err=True)


@app.command(epilog="\b\nExamples:\n  hard schema event\n  hard schema state > state.schema.json")
def schema(
    name: Annotated[str, typer.Argument(help="event, state or summary.")],
) -> None:
    """Print the JSON Schema of events, states and summaries."""
    from hard.schema import NAMES, published  # noqa: PLC0415

    if name not in NAMES:
        fail(f"{name!r}: there are schemas of {', '.join(NAMES)}", BAD_USAGE)
    typer.echo(json.dumps(published(name), indent=2))
