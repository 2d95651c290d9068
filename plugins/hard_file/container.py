"""Folders and zips that hold a recording's files: opened alike, searched alike.

Knows no format.  The formats that come as several files read through it.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from hard.api import UnusableInput
from hard_file.table import guarded

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

__all__ = ["Folder", "folder_of", "matching", "opened_folder", "search"]

Folder: TypeAlias = Path | zipfile.Path

_DEEPEST = 6
_MOST_ENTRIES = 20_000


@contextmanager
def opened_folder(path: Path) -> Iterator[Folder]:
    """Open the folder that holds the files, in the file system or in a zip.

    Lone folders inside are entered.  Raises `UnusableInput` for a damaged zip.
    """
    with ExitStack() as stack:
        with guarded(str(path)):
            folder: Folder = path
            if not path.is_dir():
                folder = zipfile.Path(stack.enter_context(zipfile.ZipFile(path)))
            for _ in range(_DEEPEST):
                inside = [entry for entry in folder.iterdir() if not entry.name.startswith("_")]
                if len(inside) != 1 or not inside[0].is_dir():
                    break
                folder = inside[0]
        yield folder


def folder_of(file: Folder) -> Folder:
    """Return the folder that holds a file."""
    return cast("Folder", file.parent)


@contextmanager
def matching(path: Path, name: re.Pattern[str]) -> Iterator[list[tuple[Folder, re.Match[str]]]]:
    """Give the file at `path` if its name matches, else those of the folder or zip that do."""
    if match := name.fullmatch(path.name):
        yield [(path, match)]
    else:
        with opened_folder(path) as folder:
            yield search(folder, name)


def search(folder: Folder, name: re.Pattern[str]) -> list[tuple[Folder, re.Match[str]]]:
    """Return the files below `folder` whose whole name matches, by path.

    Looks six folders deep; raises `UnusableInput` for more than 20,000 entries.
    """
    found: list[tuple[Folder, re.Match[str]]] = []
    todo, seen = [(folder, 0)], 0
    while todo:
        inside, depth = todo.pop()
        with guarded(str(inside)):
            entries: list[Folder] = list(inside.iterdir())
        seen += len(entries)
        if seen > _MOST_ENTRIES:
            raise UnusableInput(
                f"{folder}: holds more than {_MOST_ENTRIES} files; give the recording alone"
            )
        for entry in entries:
            if match := name.fullmatch(entry.name):
                found.append((entry, match))
            elif depth < _DEEPEST and entry.is_dir() and not entry.name.startswith((".", "_")):
                todo.append((entry, depth + 1))
    return sorted(found, key=lambda one: str(one[0]))
