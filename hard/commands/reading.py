"""Which recordings a command is to read: files, exports, sessions of `hard record`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import typer

from hard.commands.terminal import BAD_USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hard.api import Source

__all__ = ["file_sources", "recordings_named", "refuse_overwriting", "session_metadata"]

_MOST_NAMED = 12
"""So many sessions of a folder are named."""


def refuse_overwriting(files: Sequence[Path], *outputs: Path | None) -> None:
    """Exit where an output would take the place of an input or of another output."""
    taken = {path.resolve() for path in files}
    for out in outputs:
        if out is not None and out.resolve() in taken:
            fail(
                f"{out}: it is needed for something else in this call; name another file", BAD_USAGE
            )
        taken |= {out.resolve()} if out is not None else set()


def recordings_named(paths: Sequence[Path]) -> list[Path]:
    """Put in the place of each session its streams with samples.

    Exits where a folder of sessions is named, or a session without any samples.
    """
    from hard.recording import recordings_in  # noqa: PLC0415

    for path in paths:
        if path.is_dir() and recordings_in([path]) == [path]:
            inside = [*path.iterdir(), *path.glob("recordings/*")]  # or a state directory
            sessions = sorted(folder for folder in inside if recordings_in([folder]) != [folder])
            if sessions:
                more = len(sessions) - _MOST_NAMED
                named = ", ".join(map(str, sessions[-_MOST_NAMED:]))
                earlier = f" (and {more} earlier)" if more > 0 else ""
                fail(f"{path}: not a session but a folder of them; name one: {named}{earlier}")
    found = [path for path in recordings_in(paths) if path in paths or _has_samples(path)]
    if not found:
        fail("nothing is left to read: record again")
    return found


def session_metadata(path: Path) -> dict[str, Any]:
    """Return what a session says of the stream whose metadata `path` is; {} for anything else."""
    from hard.recording import is_of_session  # noqa: PLC0415

    if path.suffix != ".json" or not is_of_session(path):
        return {}
    try:
        body = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # reading its samples will say so
    return body if isinstance(body, dict) else {}


def _has_samples(path: Path) -> bool:
    """Say so where a session's stream has but labels and silences."""
    if session_metadata(path).get("declared") == {}:
        typer.echo(f"left out: {path}: it has labels or silences and no samples", err=True)
        return False
    return True


def file_sources(files: Sequence[Path], options: Mapping[str, Any]) -> list[Source[Any]]:
    """Return one `file` source a recording; two of one name get a number behind it."""
    from hard.plugins import PluginError, create  # noqa: PLC0415

    _check_words(options)
    sources: list[Any] = []
    streams: set[str] = set()
    for path in files:
        try:
            source: Any = create(
                "sources", str(path), {"plugin": "file", "path": str(path), **options}, "hard"
            )
        except PluginError as error:
            faults = "; ".join(f"{_option(key)}: {fault}" for key, fault in error.faults)
            fail(faults, BAD_USAGE)
        stream = source.config.stream_for(path)
        number = 2
        while stream in streams:
            stream, number = f"{source.config.stream_for(path)[:60]}-{number}", number + 1
        streams.add(stream)
        source.config = source.config.model_copy(update={"stream": stream})
        sources.append(source)
    _say_unused(sources)
    return sources


def _say_unused(sources: Sequence[Any]) -> None:
    """Say once of each option that a recording does not need it, and why."""
    told = {key: (source.name, why) for source in reversed(sources) for key, why in source.unused()}
    for key, (name, why) in sorted(told.items()):
        typer.echo(f"{_option(key)} is not used: {name}: {why}", err=True)


def _option(key: str) -> str:
    """Return the option that gives a key of the `file` source."""
    return f"--{key.replace('_hz', '').replace('_', '-')}"


def _check_words(options: Mapping[str, Any]) -> None:
    """Exit where an option is none of the words that it may be."""
    from hard.plugins import load  # noqa: PLC0415

    fields = load("sources", "file").Config.model_fields
    for key, given in options.items():
        words = _words(fields[key].annotation)
        if words and given not in words:
            what = key.replace("_", "-")
            fail(f"--{what}: unknown {what} {given!r}; there are: {', '.join(words)}", BAD_USAGE)


def _words(annotation: Any) -> list[str]:
    """Return the words of the literals in a type."""
    if isinstance(annotation, str):
        return [annotation]
    return [word for part in get_args(annotation) for word in _words(part)]
