"""Entry points to classes to configured instances; why a plugin is not usable is data.

Bundled plugins are found through the same entry points as third-party ones: `hard.sources` and
`hard.sinks`.  Called by configuration and the command line; imports a plugin only when asked.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pydantic import ValidationError

from hard.api import API_VERSION, Sink, Source

__all__ = ["Plugin", "PluginError", "available", "create", "explain", "file_options", "load"]

Group: TypeAlias = Literal["sources", "sinks"]
_BASES: dict[Group, Any] = {"sources": Source, "sinks": Sink}
_LETTERS = "letters (a to z, A to Z), digits"
_FORMS = {
    r"^[A-Za-z0-9_-]{1,64}$": f"1 to 64 {_LETTERS}, _ and -",
    r"^[A-Za-z0-9_.-]+$": f"{_LETTERS}, _, . and -",
    r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$": f"{_LETTERS}, _ and -, with / only between them",
    r"^/[!-~]*$": "a path that begins with / and has no blank",
    r"^wss?://[!-~]+$": "an address that begins with ws:// or wss:// and has no blank",
}
"""What a setting may be made of: the pattern of its field, in words."""
_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "int_type": "a whole number",
    "list_type": 'a list, such as ["a", "b"]',
    "model_type": "a table",
    "string_type": "text in quotes",
}
"""What a setting must be, by pydantic's word for the fault."""


class PluginError(Exception):
    """A plugin can't be used as asked; `faults` are (key, what is wrong with it)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {fault}" if key else fault for key, fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Plugin:
    """One installed plugin: `state` "ok", or "broken" with the reason."""

    group: Group
    name: str
    distribution: str
    state: Literal["ok", "broken"]
    detail: str


def _found(group: Group) -> dict[str, EntryPoint]:
    return _found_on(tuple(sys.path), group)


@cache
def _found_on(path: tuple[str, ...], group: Group) -> dict[str, EntryPoint]:
    """Look once on a search path, `sys.path`: that opens a file of every distribution there."""
    del path
    return {
        point.name: point for point in sorted(entry_points(group=f"hard.{group}"), reverse=True)
    }


def available(group: Group) -> list[Plugin]:
    """Import every plugin of a group and tell which can be used, and why the others can't."""
    plugins = []
    for name, point in sorted(_found(group).items()):
        distribution = point.dist.name if point.dist is not None else "?"
        try:
            cls = load(group, name)
        except PluginError as error:
            plugins.append(Plugin(group, name, distribution, "broken", str(error)))
        else:
            summary = (cls.__doc__ or "").strip().partition("\n")[0]
            plugins.append(Plugin(group, name, distribution, "ok", summary))
    return plugins


def load(group: Group, name: str) -> type[Source[Any] | Sink[Any]]:
    """Return a plugin's class; `PluginError` when it is not installed or broken."""
    points = _found(group)
    if name not in points:
        installed = ", ".join(sorted(points)) or "none"
        raise PluginError([("plugin", f"no {group[:-1]} plugin {name!r}; installed: {installed}")])
    try:
        cls: Any = points[name].load()
    except (Exception, SystemExit) as error:  # a module may end with sys.exit()
        raise PluginError([("plugin", f"{name!r} can't be imported: {error!r}")]) from error
    if not (isinstance(cls, type) and issubclass(cls, (_BASES[group],))):
        raise PluginError([("plugin", f"{name!r} is not a {_BASES[group].__name__}: {cls!r}")])
    usable: type[Source[Any] | Sink[Any]] = cls
    if usable.api_version != API_VERSION:
        wants = f"is written for plugin API {usable.api_version}, this is {API_VERSION}"
        raise PluginError([("plugin", f"{name!r} {wants}")])
    return usable


def create(group: Group, name: str, table: dict[str, Any], node: str) -> Source[Any] | Sink[Any]:
    """Make the instance `name` of the plugin that `table["plugin"]` names, configured by the rest.

    Raises `PluginError` with every fault of the table.
    """
    options = dict(table)
    plugin = options.pop("plugin", None)
    if not isinstance(plugin, str):
        raise PluginError([("plugin", "missing: name the plugin")])
    cls = load(group, plugin)
    try:
        config = cls.Config.model_validate(options)
    except ValidationError as error:
        known = list(cls.Config.model_fields)
        raise PluginError([explain(fault, known) for fault in error.errors()]) from error
    return cls(name, config, node)


def file_options(group: Group, name: str) -> frozenset[str]:
    """Return the options of a plugin that name files or folders.

    They are those whose type is a `Path`, and by their names `..._file`.  Raises `PluginError`.
    """
    fields = load(group, name).Config.model_fields
    return frozenset(
        key
        for key, field in fields.items()
        if key.endswith("_file") or _is_of_paths(field.annotation)
    )


def _is_of_paths(annotation: Any) -> bool:
    return annotation is Path or any(_is_of_paths(part) for part in get_args(annotation))


def explain(fault: Any, known: list[str]) -> tuple[str, str]:
    """Return (key, sentence) of one of pydantic's errors."""
    location = [str(part) for part in fault["loc"] if part != "[key]"]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        if near := get_close_matches(str(fault["loc"][-1]), known, n=1):
            return key, f'unknown key; did you mean "{near[0]}"?'
        return key, f"unknown key; known here: {', '.join(sorted(known))}"
    if fault["type"] == "missing":
        return key, "missing"
    told = fault["msg"].removeprefix("Value error, ")
    meant = _KINDS.get(fault["type"]) or _FORMS.get(fault.get("ctx", {}).get("pattern"))
    if meant is not None:
        told = f"must be {meant}"
    if fault["type"] == "dict_type" and location[0] in _BASES:
        told += f": begin it with [{location[0]}.NAME]"
    # A check of the whole table has the table for its input: too much to show.
    return key, told if isinstance(fault["input"], dict) else f"{told} (it is {fault['input']!r})"
