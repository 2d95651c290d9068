"""`hard forget`, `hard backup`, `hard restore`: what is kept, and for how long, is its owner's."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from hard.commands.configured import configuration_path, event_log, loaded, log_path
from hard.commands.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import fail

if TYPE_CHECKING:
    from hard.config import Settings

__all__ = ["app"]

app = typer.Typer()

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command(
    epilog="\b\nExamples:\n  hard forget phone-1\n  hard forget -c hard.toml phone-1 --yes"
)
def forget(
    stream: Annotated[str, typer.Argument(help="Whose events, recordings and topics go.")],
    config: ConfigOption = None,
    *,
    yes: YesOption = False,
) -> None:
    """Remove all that is kept and shown of a stream."""
    from hard import control  # noqa: PLC0415
    from hard.recording import files_of  # noqa: PLC0415

    config = configuration_path(config)
    settings = loaded(config).settings
    path = log_path(config)
    recordings = _recordings(settings, path.parent)
    typer.echo("\n".join(_at_stake(stream, settings, path, recordings)))
    if not yes:
        typer.confirm(f"Forget {stream}?", abort=True)
    files = len(files_of(recordings, stream))
    places = control.places(settings.hard.state_dir, config)
    try:
        answer = control.ask(places, config, "forget", {"stream": stream})
    except control.NoDaemonError:
        answer = _forget_in_file(stream, settings, path)
    except control.ControlError as error:
        fail(error)
    typer.echo(f"{answer['events']} events removed")
    typer.echo(f"{files} files of recordings removed")
    _remove_files(stream, path, recordings)
    for sink, done in answer["sinks"].items():
        later = "clears what it shows once the daemon runs and it is there"
        typer.echo(f"sink {sink}: {'has cleared what it shows' if done else later}")
    typer.echo(
        f"should {stream} send again it comes back: stop its device, `hard pause {stream}` now, or "
        "leave it out of `allow` of its source"
    )


def _recordings(settings: Settings, state_folder: Path) -> Path:
    """Return where the daemon of a configuration records, or would."""
    table = settings.record
    return (table and table.folder) or state_folder / "recordings"


def _at_stake(stream: str, settings: Settings, path: Path, recordings: Path) -> list[str]:
    """Return what will go, and what can't be reached, a line each."""
    from contextlib import closing  # noqa: PLC0415

    from hard.eventfile import EventLogError, files_aside, reading  # noqa: PLC0415
    from hard.recording import files_of  # noqa: PLC0415

    events = 0
    try:
        with closing(reading(path)) as db:
            query = "SELECT count(*) FROM events WHERE body ->> '$.stream' = ?"
            (events,) = db.execute(query, (stream,)).fetchone()
    except EventLogError as error:
        typer.echo(error, err=True)
    files = files_of(recordings, stream)
    mb = sum(file.stat().st_size for file in files) / 1e6
    lines = [
        f"These go, of {stream}:",
        f"  {events} events in {path}, what is known of the stream, its day so far",
        f"  {len(files)} files of recordings in {recordings}, {mb:.1f} MB",
    ]
    lines += [f"  {file}, which may hold some of it" for file in files_aside(path)]
    lines += [f"  what the sink {name} shows of it" for name in settings.sinks]
    return [*lines, "What sinks have written elsewhere (files, other databases) stays there."]


def _forget_in_file(stream: str, settings: Settings, path: Path) -> dict[str, object]:
    """Remove a stream from the log that no daemon uses; its sinks clear theirs in the next run."""
    from hard.eventlog import EventLogError  # noqa: PLC0415

    if not path.exists():
        return {"events": 0, "sinks": {}}
    log = event_log(settings, path.parent)
    try:
        for sink in settings.sinks:
            log.cursor(sink).must_forget(stream)
        return {"events": log.forget(stream), "sinks": dict.fromkeys(settings.sinks, False)}
    except EventLogError as error:
        fail(error)
    finally:
        log.close()


def _remove_files(stream: str, path: Path, recordings: Path) -> None:
    """Remove what a daemon has not: recordings, and logs that were set aside."""
    from hard.eventfile import files_aside, remove_database  # noqa: PLC0415
    from hard.recording import remove_files  # noqa: PLC0415

    try:
        remove_files(recordings, stream)
        for file in files_aside(path):
            remove_database(file)
            typer.echo(f"{file} removed")
    except OSError as error:
        fail(error)


@app.command(
    epilog="\b\nExamples:\n  hard backup hard.zip\n  hard backup -c hard.toml hard.zip --force"
)
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write (zip).")],
    config: ConfigOption = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy the event log into one file; the daemon may run."""
    from hard.backup import back_up  # noqa: PLC0415
    from hard.eventfile import EventLogError  # noqa: PLC0415

    config = configuration_path(config)
    settings = loaded(config).settings
    if file.exists() and not force:
        fail(f"{file}: there is a file of this name; give another, or --force to replace it")
    try:
        about = back_up(log_path(config), file, settings.hard.node)
    except EventLogError as error:
        fail(error)
    except OSError as error:
        fail(f"{file}: can't be written: {error.strerror}")
    size_mb = file.stat().st_size / 1e6
    typer.echo(f"{file}: {about['events']} events up to number {about['newest']}, {size_mb:.1f} MB")
    typer.echo("the configuration and recordings are not in it: keep them as well", err=True)


@app.command(
    epilog="\b\nExamples:\n  hard restore hard.zip\n  hard restore -c hard.toml hard.zip --yes"
)
def restore(
    file: Annotated[Path, typer.Argument(help="What `hard backup` wrote.")],
    config: ConfigOption = None,
    *,
    yes: YesOption = False,
) -> None:
    """Go on from a backup; the daemon must not run."""
    from hard import backup  # noqa: PLC0415
    from hard.eventfile import EventLogError  # noqa: PLC0415

    config = configuration_path(config)
    node = loaded(config).settings.hard.node
    path = log_path(config)
    try:
        about = backup.what_is_in(file)
        typer.echo(f"{file}: made {about['made']} on {about['node']}, {about['events']} events")
        if not yes:
            typer.confirm(f"Put it in the place of {path}?", abort=True)
        old = backup.restore(file, path)
    except EventLogError as error:
        fail(error)
    except OSError as error:
        fail(f"{path}: can't be written: {error.strerror}")
    typer.echo(
        f"{path}: {about['events']} events; the next one's number (seq) will be above "
        f"{backup.reserved(path)}: {about['node']} may have given lower ones since"
    )
    if old is not None:
        typer.echo(f"what was there is now {old}: remove it once nothing is missed")
    if about["node"] != node:
        typer.echo(
            f"{config}: this node is {node!r}, the backup is of {about['node']!r}: set node = "
            f'"{about["node"]}" under [hard] to go on under the same topics',
            err=True,
        )
