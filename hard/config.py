"""The configuration file: TOML, read whole, every error at once with file, line and key.

    [hard]            node, state_dir, bounds
    [model]           name: a bundled or installed model, or the path of a card
    [decision]        what trades delay against false events
    [[streams]]       match = "glob": another model or axes for some streams; first match wins
    [sources.NAME]    plugin = "...", and that plugin's options
    [sinks.NAME]      plugin = "...", and that plugin's options
    [log]             bounds of the event log
    [record]          what comes in is kept while the daemon runs; without the table nothing is
    [metrics]         figures and health over HTTP; without the table nobody listens

Every file or folder that it names is meant from where the configuration is, not from where a
command is called; `~` is the user's home.  `credential:NAME` is systemd's and no path.

Called by the command line only.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import tomllib
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from hard import systemd
from hard.card import ModelCard, ModelRefused, bundled, installed_card, is_path
from hard.conditioning import DEVICE_AXES, Axes, turn_of
from hard.decision import UNKNOWN, DecisionSettings
from hard.eventfile import PARTS
from hard.eventrows import Bounds
from hard.plugins import PluginError, create, explain, file_options
from hard.recording import Limits
from hard.zones import machine_zone, zone_named

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import tzinfo

    from hard.api import Sink, Source

__all__ = [
    "ConfigError",
    "Configuration",
    "Record",
    "Settings",
    "checked",
    "kept_in",
    "load",
    "state_folder",
    "unusable_folder",
]

SERVICE = Path("/etc/hard/hard.toml")
"""The configuration of the service; its instances have theirs beside it."""
MODELS = "models"
"""The folder of installed models, in the state directory."""
DEFAULT_MODEL = "pocket"
_NAME = r"^[A-Za-z0-9_-]{1,64}$"
_NAMED = re.compile(_NAME)
_SECRET = re.compile(r"password|token|secret", re.IGNORECASE)
_CREDENTIAL = "credential:"
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
_TOKEN = re.compile(r"[!-~]{16,512}")


class ConfigError(Exception):
    """The configuration can't be used; the message lists every error, a line each."""


def _node() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "hard"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _placed(path: Path, folder: Path) -> Path:
    """Return a path as a configuration in `folder` means it; raises ValueError."""
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r}: no path has a NUL in it: remove it")
    try:
        return folder / path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}: give an absolute path") from error


def _folder(path: Path, info: ValidationInfo) -> Path:
    return _placed(path, info.context or Path())


def _model(name: str, info: ValidationInfo) -> str:
    """Place a model that is given by its path (`ModelCard.load`): with a folder or an ending."""
    return str(_placed(Path(name), info.context or Path())) if is_path(name) else name


Folder = Annotated[Path, Field(strict=False), AfterValidator(_folder)]
ModelName = Annotated[str, AfterValidator(_model)]
"""Both are validated in the context of the configuration's folder; without one, where one is."""


class Daemon(_Table):
    """`[hard]`: the process as a whole."""

    node: str = Field(default_factory=_node, pattern=_NAME, description="name in topics")
    state_dir: Folder | None = Field(
        default=None, description="where the event log lives; none: in memory"
    )
    max_streams: int = Field(
        default=1000, ge=1, le=10_000, description="more evict one without a bout, else the idlest"
    )
    inbox_messages: int = Field(default=1024, ge=16, description="more drop the busiest source's")
    shutdown_s: float = Field(default=4.5, gt=0, le=60, description="SIGTERM to exit, at most")


class Log(_Table):
    """`[log]`: how much the event log keeps; what is more goes, oldest first, counted."""

    max_events: int = Field(default=100_000, ge=1000, description="events")
    max_mb: float = Field(default=64.0, ge=8, description="MB of the file")
    keep_days: float = Field(default=90.0, ge=0, description="days; 0: however old")
    sync: Literal["normal", "full"] = Field(
        default="normal", description="full: a power cut costs nothing, each commit syncs the disk"
    )

    def bounds(self) -> Bounds:
        """Return them as the event log wants them."""
        return Bounds(self.max_events, int(self.max_mb * 1e6), self.keep_days or None)


class Model(_Table):
    """`[model]`: the model of every stream that no `[[streams]]` entry matches."""

    name: ModelName = Field(default=DEFAULT_MODEL, description="a model's name, or path of a card")


def _rotation(axes: Axes) -> Axes:
    turn_of(axes)
    return axes


def _zone(name: str) -> str:
    zone_named(name)
    return name


class StreamRule(_Table):
    """`[[streams]]`: what some streams want otherwise."""

    match: str = Field(description="glob over stream names")
    name: str | None = Field(
        default=None, min_length=1, max_length=64, description="for people: in Home Assistant"
    )
    model: ModelName | None = Field(default=None, description="name, or path of a card")
    placement: str | None = Field(default=None, description="where it is worn; told if untrained")
    axes: Annotated[tuple[str, str, str], Field(strict=False), AfterValidator(_rotation)] = Field(
        default=DEVICE_AXES, description="the device's axes along the model's x, y and z"
    )
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="IANA name, of the wearer's days; none: this machine's"
    )


class Record(_Table):
    """`[record]`: recordings of what comes in, one session a run."""

    folder: Folder | None = Field(default=None, description="default: recordings in the state_dir")
    streams: list[str] = Field(default=["*"], description="globs over stream names")
    max_mb: float = Field(default=1000.0, ge=1, description="of all sessions; the oldest go")
    file_mb: float = Field(default=16.0, ge=0.01, description="then another file begins")
    file_minutes: float = Field(default=60.0, ge=0.1, description="or after so long")

    def limits(self) -> Limits:
        """Return them as the recorder wants them."""
        return Limits(
            streams=tuple(self.streams),
            max_bytes=int(self.max_mb * 1e6),
            part_bytes=int(self.file_mb * 1e6),
            part_s=self.file_minutes * 60.0,
        )


def _secret_file(name: str, info: ValidationInfo) -> str:
    return name if name.startswith(_CREDENTIAL) else str(_folder(Path(name), info))


class Metrics(_Table):
    """`[metrics]`: figures for Prometheus, and health, over HTTP."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=9464, ge=1, le=65535)
    token_file: Annotated[str, AfterValidator(_secret_file)] | None = Field(
        default=None, description="whoever asks must know its first line"
    )
    max_streams: int = Field(default=20, ge=0, le=1000, description="more share the name other")

    @model_validator(mode="after")
    def _guarded_beyond_loopback(self) -> Self:
        if self.token_file is None and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached by others: set token_file, the file with the "
                'token that they must know, or host = "127.0.0.1"'
            )
        return self

    def token(self) -> str | None:
        """Return the token, None where nobody needs one; raises `ConfigError`."""
        name = self.token_file
        if name is None:
            return None
        path = Path(name)
        if name.startswith(_CREDENTIAL):
            found = systemd.credential(name.removeprefix(_CREDENTIAL))
            path = Path(name) if found is None else found
        try:
            token = path.read_text("ascii").partition("\n")[0].strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"{path} can't be read: {error}") from error
        if not _TOKEN.fullmatch(token):
            raise ConfigError(
                f"{path}: its first line must be 16 to 512 characters without "
                "blanks: openssl rand -hex 32 makes such a token"
            )
        return token


def _token_faults(metrics: Metrics) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the file of the token, unless only systemd can look at it."""
    if f"{metrics.token_file}".startswith(_CREDENTIAL) and not os.environ.get(_CREDENTIALS):
        return
    try:
        metrics.token()
    except ConfigError as error:
        yield "metrics.token_file", str(error)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Settings(_Table):
    """The whole file."""

    hard: Daemon = Field(default_factory=Daemon)
    log: Log = Field(default_factory=Log)
    model: Model = Field(default_factory=Model)
    decision: Annotated[DecisionSettings, Field(strict=False)] = Field(
        default_factory=DecisionSettings
    )
    streams: list[StreamRule] = []
    sources: dict[Annotated[str, Field(pattern=_NAME)], dict[str, Any]] = {}
    sinks: dict[Annotated[str, Field(pattern=_NAME)], dict[str, Any]] = {}
    record: Record | None = None
    metrics: Metrics | None = None
    _models_folder: Path | None = PrivateAttr(default=None)

    @property
    def models_folder(self) -> Path | None:
        """Where models are installed that are not bundled; None without a state directory."""
        return self._models_folder

    def with_models_in(self, folder: Path) -> Settings:
        """Return these settings with each model that is installed in `folder` by its path."""
        self._models_folder = folder
        rules = [
            rule
            if rule.model is None
            else rule.model_copy(update={"model": self.located(rule.model)})
            for rule in self.streams
        ]
        model = self.model.model_copy(update={"name": self.located(self.model.name)})
        return self.model_copy(update={"model": model, "streams": rules})

    def located(self, model: str) -> str:
        """Return a model as `ModelCard.load` takes it: one that is installed by its path.

        Bundled ones go first, so that an installed one can't pass for them.
        """
        if self._models_folder is None or is_path(model) or model in bundled():
            return model
        card = installed_card(self._models_folder, model)
        try:
            return str(card) if card.is_file() else model
        except OSError:
            return str(card)  # reading it will say why not

    def about(self, stream: str) -> dict[str, Any]:
        """Return what a recording says of how its stream was understood."""
        card, _ = ModelCard.load(self.model_for(stream))
        return {
            "node": self.hard.node,
            "model": card.identity,
            "decision": self.decision.model_dump(mode="json", exclude_unset=True),
        }

    def model_for(self, stream: str) -> str:
        """Return the model that a stream uses: the first match, else the default."""
        rule = self._rule(stream)
        return self.model.name if rule is None or rule.model is None else rule.model

    def axes_of(self, stream: str) -> Axes:
        """Return the axes of a stream's device, by the same rule."""
        rule = self._rule(stream)
        return DEVICE_AXES if rule is None else rule.axes

    def placement_of(self, stream: str) -> str | None:
        """Return where a stream's device is worn, None where nobody said."""
        rule = self._rule(stream)
        return None if rule is None else rule.placement

    def name_of(self, stream: str) -> str:
        """Return what a stream is called for people: its own name where nothing is configured."""
        rule = self._rule(stream)
        return stream if rule is None or rule.name is None else rule.name

    def zone_of(self, stream: str) -> tzinfo:
        """Return the time zone of a stream's days."""
        rule = self._rule(stream)
        return (
            machine_zone() if rule is None or rule.timezone is None else zone_named(rule.timezone)
        )

    def _rule(self, stream: str) -> StreamRule | None:
        return next((rule for rule in self.streams if fnmatchcase(stream, rule.match)), None)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Checked settings and the plugin instances they make (which have done nothing yet)."""

    settings: Settings
    sources: dict[str, Source[Any]]
    sinks: dict[str, Sink[Any]]

    def effective(self) -> dict[str, Any]:
        """Return every setting in force by its dotted key, defaults included, secrets masked."""
        table = self.settings.model_dump(mode="json")
        for absent in [name for name in ("record", "metrics") if table[name] is None]:
            del table[absent]
        for group, instances in (("sources", self.sources), ("sinks", self.sinks)):
            for name, instance in instances.items():
                table[group][name] |= instance.config.model_dump(mode="json")
        return dict(_flat(table, ""))

    def unchecked(self) -> Iterator[str]:
        """Yield the keys of files that only the service is handed: it alone can look at them."""
        if _CREDENTIALS in os.environ:
            return
        for key, value in self.effective().items():
            if isinstance(value, str) and value.startswith(_CREDENTIAL):
                yield key


def _flat(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif _SECRET.search(key) and not key.endswith("_file") and value is not None:
            yield f"{prefix}{key}", "********"
        else:
            yield f"{prefix}{key}", value


def load(path: Path | None, needs: Collection[str] = ()) -> Configuration:
    """Read and check a configuration file; None gives the defaults.

    `needs` names the tables ("sources", "sinks") of which one instance at least must be there, and
    whose files of passwords must be readable: what a daemon can't begin without; and "folders"
    that this user can write.  Raises `ConfigError` that lists every error of the file, its models
    and its plugins.
    """
    if path is None:
        return Configuration(Settings(), {}, {})
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: no regular file: name the configuration file")
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return checked(path, text, needs)


def checked(path: Path, text: str, needs: Collection[str] = ()) -> Configuration:
    """Check a text that is, or will be, the configuration file `path`; otherwise like `load`."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib's own, of its depth
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    folder = Path(os.path.normpath(path.absolute())).parent  # as short as sockets want it
    settings, faults = _settings(table, folder, path)
    made: dict[str, dict[str, Any]] = {}
    for group in ("sources", "sinks"):
        made[group] = _instances(group, settings, folder, faults)
        if group in needs:
            faults += _lacking(group, made[group], table.get(group))
    faults += _conflicts(settings, path)
    if "folders" in needs:
        faults += _unusable_folders(settings)
    if needs and settings.metrics is not None:
        faults += _token_faults(settings.metrics)
    if faults:
        lines = (f"{path}:{_line(text, key)}: {key}: {fault}" for key, fault in faults)
        raise ConfigError("\n".join(lines))
    return Configuration(settings, made["sources"], made["sinks"])


def state_folder(path: Path) -> Path | None:
    """Return the state folder that a configuration names, whatever else is wrong with it."""
    try:
        if not path.is_file():
            return None
        found = re.search(r'^\s*state_dir\s*=\s*"([^"]+)"', path.read_text("utf-8"), re.MULTILINE)
        return None if found is None else _placed(Path(found[1]), path.absolute().parent)
    except (OSError, ValueError):
        return None


def kept_in(own: Path | None, path: Path) -> Path | None:
    """Return where the daemon of a configuration keeps its state; None where it keeps none.

    That is as configured (`own`), else where systemd tells this service, else where it would tell
    the one that runs with this configuration.
    """
    return own or systemd.state_directory() or _service_state(path.absolute())


def _service_state(config: Path) -> Path | None:
    if config.parent != SERVICE.parent:
        return None
    instance = "" if config == SERVICE else f"-{config.stem}"
    return Path(f"/var/lib/hard{instance}")


def _settings(
    table: dict[str, Any], folder: Path, path: Path
) -> tuple[Settings, list[tuple[str, str]]]:
    """Return what can be used of a configuration in `folder`, and (key, what is wrong with it)."""
    try:
        settings = Settings.model_validate(table, context=folder)
    except ValidationError as error:
        faults = [explain(f, _known(f["loc"])) for f in error.errors()]
        faults += _told_models(table, folder, path)
        return Settings.model_validate(_plugin_tables(table)), faults
    settings = _with_installed(settings, path)
    return settings, _model_faults(settings)


def _instances(
    group: Any, settings: Settings, folder: Path, faults: list[tuple[str, str]]
) -> dict[str, Any]:
    """Make a group's plugins, after their files were placed in the settings; add to `faults`."""
    made: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = getattr(settings, group)
    for name, options in tables.items():
        try:
            _place_files(group, options, folder)
            made[name] = create(group, name, options, settings.hard.node)
        except PluginError as error:
            faults += [
                (".".join(part for part in (group, name, key) if part), fault)
                for key, fault in error.faults
            ]
    return made


def _place_files(group: Any, options: dict[str, Any], folder: Path) -> None:
    """Let the options of a plugin name their files as the configuration means them."""
    plugin = options.get("plugin")
    for key in file_options(group, plugin) if isinstance(plugin, str) else ():
        value = options.get(key)
        if isinstance(value, str) and not value.startswith(_CREDENTIAL):
            try:
                options[key] = str(_placed(Path(value), folder))
            except ValueError as error:
                raise PluginError([(key, str(error))]) from error


def _conflicts(settings: Settings, config: Path) -> Iterator[tuple[str, str]]:
    """Yield the sinks whose file something else writes, or is read from."""
    taken = {config.resolve(): "this configuration"}
    folder = settings.hard.state_dir
    if folder is not None:
        for suffix in PARTS:
            name = f"events.db{suffix}"
            taken[(folder / name).resolve()] = f"the event log of hard.state_dir ({name})"
        taken[(folder / "control.sock").resolve()] = "the control socket of hard.state_dir"
    for group, tables in (("sources", settings.sources), ("sinks", settings.sinks)):
        for name, options in tables.items():
            key, given = f"{group}.{name}.path", options.get("path")
            if not isinstance(given, str) or "\0" in given:
                continue
            path = Path(given).resolve()
            if group == "sinks" and path in taken:
                yield key, f"{path} is that of {taken[path]} too: give each a file of its own"
            taken.setdefault(path, key)


_HINTS = {
    "sources": ' with plugin = "mqtt", say',
    "sinks": ' with plugin = "stdout", say, or run with --stdout',
}


def _lacking(group: str, made: dict[str, Any], table: Any) -> Iterator[tuple[str, str]]:
    """Yield what else the instances of a group need before a daemon can begin with them."""
    if not made and not table:
        yield group, f"none is configured: add [{group}.NAME]{_HINTS[group]}"
    for name, instance in made.items():
        for key, value in instance.config:
            if _SECRET.search(key) and key.endswith("_file") and value is not None:
                fault = _unreadable(str(value))
                if fault is not None:
                    yield f"{group}.{name}.{key}", fault


def _unreadable(secret: str) -> str | None:
    """Return why a file of a secret can't be read; None where it can, or is `unchecked`."""
    credential = secret.removeprefix(_CREDENTIAL)
    if credential == secret:
        path = Path(secret)
        remedy = "write the password into it, or correct the path"
    elif folder := os.environ.get(_CREDENTIALS):
        path = Path(folder, credential)
        remedy = (
            f"put it into /etc/credstore/hard-{credential}-password, where the unit has "
            f"LoadCredential={credential}:hard-{credential}-password"
        )
    else:
        return None
    if not path.is_file():
        return f"{path}: no such file: {remedy}"
    return None if os.access(path, os.R_OK) else f"{path}: this user may not read it: {remedy}"


def unusable_folder(folder: Path) -> str | None:
    """Return why this user can't keep files in a folder, made if need be; nothing is made here."""
    for there in (folder, *folder.absolute().parents):
        try:
            mode = there.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{there}: {error.strerror}: choose another folder"
        if not stat.S_ISDIR(mode):
            return f"{there} is no folder: choose another"
        if not os.access(there, os.W_OK | os.X_OK):
            return f"this user can't write in {there}: chown it, or choose another folder"
        return None
    return f"{folder}: there is no such place"


def _unusable_folders(settings: Settings) -> Iterator[tuple[str, str]]:
    folders = {"hard.state_dir": settings.hard.state_dir}
    if settings.record is not None:
        folders["record.folder"] = settings.record.folder
    for key, folder in folders.items():
        fault = None if folder is None else unusable_folder(folder)
        if fault is not None:
            yield key, fault


def _plugin_tables(table: dict[str, Any]) -> dict[str, Any]:
    """Return the tables of plugins, which can be checked whatever else is wrong."""
    return {
        group: {
            n: t for n, t in table[group].items() if isinstance(t, dict) and _NAMED.fullmatch(n)
        }
        for group in ("sources", "sinks")
        if isinstance(table.get(group), dict)
    }


def _told_models(table: dict[str, Any], folder: Path, path: Path) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the models of settings that can't be used as they are."""
    rules = table.get("streams")
    parts = {
        "hard": _only("state_dir", table.get("hard")),
        "model": _only("name", table.get("model")),
        "streams": [
            {"match": "*", **_only("model", rule)}
            for rule in (rules if isinstance(rules, list) else [])
        ],
        "decision": table.get("decision", {}),
    }
    for key in list(parts):
        try:
            Settings.model_validate({key: parts[key]}, context=folder)
        except ValidationError:
            del parts[key]
    settings = Settings.model_validate(parts, context=folder)
    yield from _model_faults(_with_installed(settings, path))


def _only(key: str, table: Any) -> dict[str, Any]:
    """Return a table's text of that key, whatever else is in it."""
    text = table.get(key) if isinstance(table, dict) else None
    return {key: text} if isinstance(text, str) else {}


def _with_installed(settings: Settings, path: Path) -> Settings:
    """Let the settings of a configuration know the models that are installed for it."""
    state = kept_in(settings.hard.state_dir, path)
    return settings.with_models_in(state / MODELS) if state else settings


def _model_faults(settings: Settings) -> list[tuple[str, str]]:
    wanted = [("model.name", settings.model.name)]
    wanted += [(f"streams.{i}.model", r.model) for i, r in enumerate(settings.streams) if r.model]
    faults, states = [], {UNKNOWN: None}  # in the order of the cards
    for key, name in wanted:
        try:
            card, _ = ModelCard.load(name)
            settings.decision.over(card)
        except ModelRefused as error:
            faults.append((key, str(error)))
        else:
            states |= dict.fromkeys(card.states)
    return faults or list(_strange_states(settings.decision, states))


def _strange_states(
    decision: DecisionSettings, known: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the states that are set and that no model in use knows."""
    for key in ("enter_at", "exit_at"):
        for state in getattr(decision, key):
            if state not in known:
                told = f"{state!r} is nothing that the models tell; they tell {', '.join(known)}"
                yield f"decision.{key}", told


def _known(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known in the table where an unknown one was found."""
    tables: dict[Any, type[BaseModel]] = {
        "hard": Daemon,
        "log": Log,
        "model": Model,
        "decision": DecisionSettings,
        "streams": StreamRule,
        "record": Record,
        "metrics": Metrics,
    }
    table = tables.get(location[0], Settings) if len(location) > 1 else Settings
    return list(table.model_fields)


def _line(text: str, key: str) -> int:
    """Return the line of a dotted key in a TOML text, the nearest table's where it has none."""
    *parents, last = key.split(".")
    best, table = 1, ""
    seen: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[{1,2})\s*([^\]]+?)\s*\]", line):
            table = header[2].replace('"', "")
            if header[1] == "[[":
                seen[table] += 1
                table = f"{table}.{seen[table] - 1}"
            if f"{key}.".startswith(f"{table}."):
                best = number
        elif (
            (entry := re.match(r'\s*"?([A-Za-z0-9_-]+)"?\s*=', line))
            and entry[1] == last
            and table == ".".join(parents)
        ):
            return number
    return best
