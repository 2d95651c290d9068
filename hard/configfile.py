"""Configuration files as texts: a value as TOML, and one value changed without touching the rest.

What a configuration means, and whether it is right, is `hard.config`'s.  Called by `hard init`,
`hard models set` and `hard sources scan`.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

__all__ = ["UneditableError", "toml_value", "with_value"]


class UneditableError(Exception):
    """A value can't be changed by itself; the message says what to write by hand."""


def toml_value(value: Any) -> str:
    """Return a value as TOML; JSON's strings, numbers, booleans and lists are TOML's.

    >>> toml_value(["sensors/{stream}/imu", 8080, True])
    '["sensors/{stream}/imu", 8080, true]'
    """
    # TOML wants U+007F escaped, JSON does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def with_value(text: str, table: str, key: str, value: str) -> str:
    """Return a configuration with one string of a table set; comments and all else stay.

    Raises `UneditableError` where it is written in a way that can't be changed line by line.
    """
    expected = tomllib.loads(text)
    try:
        expected.setdefault(table, {})[key] = value
    except TypeError as error:
        raise UneditableError(f"{table} is no table: write [{table}] yourself") from error
    line = f"{key} = {toml_value(value)}"
    changed = _with_line(text.splitlines(keepends=True), table, key, line)
    try:
        if tomllib.loads(changed) == expected:
            return changed
    except tomllib.TOMLDecodeError:
        pass
    raise UneditableError(f"it is written in an unusual way: under [{table}] write {line}")


def _with_line(lines: list[str], table: str, key: str, line: str) -> str:
    """Return the lines with a key's replaced, else added below its table's header, else both."""
    header = next((i for i, it in enumerate(lines) if _header(it) == table), None)
    if header is None:
        gap = "" if not lines or lines[-1].endswith("\n") else "\n"
        return "".join([*lines, f"{gap}\n[{table}]\n{line}\n"])
    for i in range(header + 1, len(lines)):
        if re.match(r"\s*\[", lines[i]):
            break
        entry = re.match(rf'(\s*)(?:{key}|"{key}")\s*=\s*(?:"[^"\n]*"|\'[^\'\n]*\')', lines[i])
        if entry:
            return "".join([*lines[:i], entry[1], line, lines[i][entry.end() :], *lines[i + 1 :]])
    head = lines[header] if lines[header].endswith("\n") else f"{lines[header]}\n"
    return "".join([*lines[:header], head, f"{line}\n", *lines[header + 1 :]])


def _header(line: str) -> str | None:
    found = re.match(r"\s*\[\s*\"?([A-Za-z0-9_-]+)\"?\s*\]", line)
    return found and found[1]
