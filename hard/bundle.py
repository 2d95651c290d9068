"""What helps somebody else to find a fault, in one archive: no samples, no passwords, no names.

Every text in it goes through `hard.scrubbing`; streams are called stream-1, stream-2 and so on
throughout.  What can't be had is said in its place.  `hard doctor --bundle` is the only caller.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import tarfile
import time
from fnmatch import fnmatchcase
from http.client import HTTPConnection, HTTPException
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hard import control
from hard.api import rfc3339
from hard.card import ModelCard, ModelRefused, others_beside
from hard.config import MODELS, ConfigError, Settings, load
from hard.eventfile import EVIDENCE, EventLogError, files_aside, reading
from hard.outputs import written_aside
from hard.scrubbing import MASK, Scrubber, is_secret, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hard.config import Configuration, Metrics

__all__ = ["write_bundle"]

LOG_LINES = 1_000
MAX_LOG_BYTES = 2_000_000
MAX_SECRET_BYTES = 65_536
WAIT_S = 10.0

_README = """What `hard doctor --bundle` collected, to find a fault by.

{contents}

There are no samples in it and no single events, only how many there were.  Passwords, tokens and
keys are masked, URLs are cut behind their host, streams are called stream-1, stream-2 and so on,
wearers' names are left out.  That is done by rules: look through it before you give it away.
"""
_CONTENTS = {
    "doctor.txt": "what hard doctor says of each part",
    "versions.json": "programs, packages, machine, kernel, memory, disk",
    "configuration.json": "every setting in force, secrets masked, or what is wrong with it",
    "models.json": "the models that are installed, and whether their files are whole",
    "status.json": "what the running daemon hears and delivers, and what it counted",
    "metrics.txt": "what [metrics] tells",
    "events.json": "how many events the log holds, of what kind, and how far each sink has got",
    "journal.txt": f"the last {LOG_LINES} lines that the daemon logged",
}


def write_bundle(
    path: Path, config: Path | None, log: Path | None, doctor: Sequence[str], logged: Path | None
) -> list[str]:
    """Write the archive (tar.gz, for its owner only); return what is in it, a line each.

    `log` is the event log, `doctor` what `hard doctor` printed, `logged` a file that the daemon's
    output went into instead of the journal.  Raises OSError.
    """
    settings, configuration = _configuration(config)
    status = _status(config, settings)
    names = _names(settings, status, log)
    scrubber = Scrubber(_secrets(settings, configuration), names)
    texts: dict[str, Any] = {
        "doctor.txt": "\n".join(doctor),
        "versions.json": _versions(log),
        "configuration.json": configuration,
        "models.json": list(_models(settings, log)),
        "status.json": status,
        "metrics.txt": _metrics(settings.metrics),
        "events.json": _events(log),
        "journal.txt": _logged(config, status, logged),
    }
    contents = [f"{name:20}{told}" for name, told in _CONTENTS.items()]
    with written_aside(path, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        os.fchmod(file.fileno(), 0o600)
        _add(archive, "README.txt", _README.format(contents="\n".join(contents)))
        for name, content in texts.items():
            is_text = isinstance(content, str)
            shown = scrubber.text(content) if is_text else _json(scrubber.table(content))
            _add(archive, name, shown)
    return contents


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "replace")
    entry = tarfile.TarInfo(f"hard-bundle/{name}")
    entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
    archive.addfile(entry, io.BytesIO(data))


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


# -- what must not be in it ----------------------------------------------------------------------


def _secrets(settings: Settings, configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield every secret that can be known: of the configuration, its files, the environment."""
    yield from secrets_in(configuration)
    tables = [*settings.sources.values(), *settings.sinks.values()]
    if settings.metrics is not None:
        tables.append(settings.metrics.model_dump(mode="json"))
    for table in tables:
        yield from secrets_in(table)
        for key, value in table.items():
            if key.endswith("_file") and is_secret(key.removesuffix("_file")):
                yield from _lines_of(str(value))
    for key, value in os.environ.items():
        if is_secret(key):
            yield value


def _lines_of(name: str) -> Iterator[str]:
    """Yield the lines of a file of a secret, if this user may read it."""
    credential = name.removeprefix("credential:")
    if credential != name:
        places = [Path("/etc/credstore", f"hard-{credential}-password")]
        if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
            places.append(Path(folder, credential))
    else:
        places = [Path(name)]
    for place in places:
        with contextlib.suppress(OSError), place.open("rb") as file:
            yield from file.read(MAX_SECRET_BYTES).decode("utf-8", "replace").splitlines()


def _names(settings: Settings, status: Mapping[str, Any], log: Path | None) -> dict[str, str]:
    """Return what each stream, and each name of a wearer, is called in the archive."""
    known = {str(stream["stream"]) for stream in status.get("streams", [])}
    with contextlib.suppress(EventLogError, sqlite3.Error):
        if log is not None:
            with contextlib.closing(reading(log)) as db:
                for table in (
                    "SELECT DISTINCT body ->> '$.stream' FROM events",
                    "SELECT stream FROM streams",
                ):
                    known |= {str(stream) for (stream,) in db.execute(table) if stream}
    wearers = sorted({rule.name for rule in settings.streams if rule.name} - known)
    return {
        **{name: f"stream-{n}" for n, name in enumerate(sorted(known), 1)},
        **dict.fromkeys(wearers, MASK),
        **{rule.match: _matched(rule.match, sorted(known)) for rule in settings.streams},
    }


def _matched(glob: str, known: Sequence[str]) -> str:
    found = [f"stream-{n}" for n, name in enumerate(known, 1) if fnmatchcase(name, glob)]
    return glob if glob == "*" else f"(what matches {', '.join(found) or 'no stream'})"


# -- what is in it -------------------------------------------------------------------------------


def _configuration(config: Path | None) -> tuple[Settings, dict[str, Any]]:
    """Return the settings, as far as they can be used, and what to tell of them."""
    try:
        configuration: Configuration = load(config)
    except ConfigError as error:
        return Settings(), {"faults": str(error).splitlines(), "file": str(config)}
    return configuration.settings, {"file": str(config), **configuration.effective()}


def _versions(log: Path | None) -> dict[str, Any]:
    packages = {found.metadata["Name"]: found.version for found in distributions()}
    machine: dict[str, Any] = {
        "made": rfc3339(time.time_ns()),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": platform.machine(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "cores": os.cpu_count(),
        "model": _first_line(Path("/proc/device-tree/model")),
        "memory": _first_line(Path("/proc/meminfo")),
        "load": os.getloadavg(),
    }
    with contextlib.suppress(OSError):
        machine["system"] = platform.freedesktop_os_release().get("PRETTY_NAME")
    if log is not None and log.parent.exists():
        disk = shutil.disk_usage(log.parent)
        machine["disk_mb"] = {"free": disk.free // 1_000_000, "total": disk.total // 1_000_000}
    return {**machine, "packages": dict(sorted(packages.items()))}


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").partition("\n")[0].strip("\0 ")
    except OSError:
        return None


def _models(settings: Settings, log: Path | None) -> Iterator[dict[str, Any]]:
    used = [settings.model.name, *(rule.model for rule in settings.streams if rule.model)]
    kept = None if log is None else log.parent / MODELS
    for name in dict.fromkeys([*others_beside(settings.model.name, kept), *used]):
        try:
            card, path = ModelCard.load(name)
        except ModelRefused as error:
            yield {"model": name, "refused": str(error)}
        else:
            size = path.stat().st_size if path.is_file() else None
            yield {"model": name, "identity": card.identity, "bytes": size, "used": name in used}


def _status(config: Path | None, settings: Settings) -> dict[str, Any]:
    if config is None:
        return {"message": "no configuration, so no daemon"}
    try:
        return control.ask(control.places(settings.hard.state_dir, config), config, "status")
    except control.ControlError as error:
        return {"message": str(error)}


def _metrics(table: Metrics | None) -> str:
    if table is None:
        return "there is no [metrics]\n"
    try:
        token = table.token()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        asked = HTTPConnection(table.host, table.port, timeout=WAIT_S)
        with contextlib.closing(asked):
            asked.request("GET", "/metrics", headers=headers)
            return asked.getresponse().read(MAX_LOG_BYTES).decode("utf-8", "replace")
    except (OSError, HTTPException, ConfigError) as error:
        return f"nothing answers: {error}\n"


def _events(log: Path | None) -> dict[str, Any]:
    """Return how many events there are of what, never one of them."""
    if log is None:
        return {"message": "no state directory: events are kept in memory"}
    try:
        with contextlib.closing(reading(log)) as db:
            return {"file": str(log), "files": _files(log), **_counted(db)}
    except (EventLogError, sqlite3.Error) as error:
        return {"message": str(error), "files": _files(log)}


def _counted(db: sqlite3.Connection) -> dict[str, Any]:
    numbers, first, last = db.execute("SELECT count(*), min(seq), max(seq) FROM events").fetchone()
    kinds = db.execute(
        "SELECT body ->> '$.stream', body ->> '$.kind',"
        " coalesce(body ->> '$.activity', body ->> '$.status'), count(*),"
        " min(body ->> '$.t_decided'), max(body ->> '$.t_decided')"
        " FROM events WHERE json_valid(body) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    names = ("stream", "kind", "what", "events", "first_ns", "last_ns")
    boots = db.execute("SELECT * FROM boots ORDER BY boot DESC LIMIT 20")
    boot_names = [column[0] for column in boots.description]
    return {
        "events": numbers,
        "first_seq": first,
        "newest_seq": last,
        "by_kind": [dict(zip(names, row, strict=True)) for row in kinds],
        "cursors": dict(db.execute("SELECT sink, seq FROM cursors").fetchall()),
        "open_bouts": db.execute("SELECT count(*) FROM open_bouts").fetchone()[0],
        "boots": [dict(zip(boot_names, row, strict=True)) for row in boots],
    }


def _files(log: Path) -> dict[str, int]:
    beside = [log, Path(f"{log}-wal"), Path(f"{log}{EVIDENCE}"), *files_aside(log)]
    return {file.name: file.stat().st_size for file in beside if file.exists()}


def _logged(config: Path | None, status: Mapping[str, Any], logged: Path | None) -> str:
    """Return the daemon's last lines, from the journal or a file."""
    if logged is not None:
        with logged.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES:]) + "\n"
    whose = f"_PID={status['pid']}" if "pid" in status else f"--unit={_unit(config)}"
    if config is not None and config.absolute().parent == Path("/etc/hard"):
        whose = f"--unit={_unit(config)}"
    command = ["journalctl", "--no-pager", "--output=short-iso", "--no-hostname"]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [*command, f"--lines={LOG_LINES}", whose],
            capture_output=True,
            check=False,
            timeout=WAIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the journal can't be read: {error}: name a file by --log\n"
    return (done.stdout + done.stderr)[-MAX_LOG_BYTES:].decode("utf-8", "replace")


def _unit(config: Path | None) -> str:
    stem = "hard" if config is None else config.stem
    return "hard.service" if stem == "hard" else f"hard@{stem}.service"
