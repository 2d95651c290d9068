"""An archive as its authors publish it, read in place: zip, zip within a zip, tar.gz, or a folder.

Knows no data set.  What a Mac left in it (`__MACOSX`, `._name`) is passed over.  A parser that
wants files gets them by `unpacked`, a few at a time, in a folder that lives as long as it reads.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING, cast

from hard_training.datasets.recordings import DataUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["Archive", "Member", "on_disk", "open_archive", "unpacked"]

_DEEPEST = 8
_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive; `path` is where, `local` the file itself where it is unpacked."""

    path: PurePosixPath
    opener: Callable[[], IO[bytes]]
    local: Path | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def open(self) -> IO[bytes]:
        """Open it for reading."""
        return self.opener()

    def beside(self, name: str) -> PurePosixPath:
        """Return the path of another name in the same folder."""
        return self.path.with_name(name)


@dataclass(frozen=True, slots=True)
class Archive:
    """What an open archive or folder holds, by path."""

    name: str
    members: dict[PurePosixPath, Member]

    def files(self, pattern: str) -> list[tuple[Member, re.Match[str]]]:
        """Return the files whose whole name matches, by path; `DataUnusable` if there is none."""
        found = [
            (member, match)
            for path, member in sorted(self.members.items())
            if (match := re.fullmatch(pattern, path.name))
        ]
        if not found:
            raise DataUnusable(
                f"{self.name}: no file in it is named like {pattern!r}: it is incomplete, or of "
                "another version"
            )
        return found

    def needed(self, path: PurePosixPath) -> Member:
        """Return the file at a path; raise `DataUnusable` where it is missing."""
        if path not in self.members:
            raise DataUnusable(f"{self.name}: {path} is missing: it is incomplete")
        return self.members[path]


@contextmanager
def open_archive(source: Path | Member, inner: str | None = None) -> Iterator[Archive]:
    """Open an archive, or a member that is one; zips in it named like `inner` are entered too.

    A zip within another is copied to a temporary file first: deflated, it can't be sought in.
    """
    with ExitStack() as stack:
        if isinstance(source, Member):
            found = _of_zip(_entered(source, stack), PurePosixPath(), inner, stack)
            name = str(source.path)
        elif source.is_dir():
            found, name = _of_folder(source, inner, stack), str(source)
        elif zipfile.is_zipfile(source):
            archive = stack.enter_context(zipfile.ZipFile(source))
            found, name = _of_zip(archive, PurePosixPath(), inner, stack), str(source)
        elif tarfile.is_tarfile(source):
            found, name = _of_tar(stack.enter_context(tarfile.open(source))), str(source)
        else:
            raise DataUnusable(f"{source}: {_what_is_wrong(source)}")
        yield Archive(name, {member.path: member for member in found})


def _what_is_wrong(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith((b"PK", b"\x1f\x8b")):
        return "cut short: the end of the archive is missing"
    return "neither a zip nor a tar.gz, nor a folder"


def _is_junk(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name.startswith(("._", ".DS_Store"))


def _of_zip(
    archive: zipfile.ZipFile, within: PurePosixPath, inner: str | None, stack: ExitStack
) -> Iterator[Member]:
    for info in archive.infolist():
        path = within / info.filename
        if info.is_dir() or _is_junk(path):
            continue
        member = Member(path, partial(archive.open, info))
        if inner is not None and re.fullmatch(inner, path.name):
            yield from _of_zip(_entered(member, stack), path, inner, stack)
        else:
            yield member


def _entered(member: Member, stack: ExitStack) -> zipfile.ZipFile:
    if member.local is not None:
        return stack.enter_context(zipfile.ZipFile(member.local))
    copy = stack.enter_context(TemporaryFile(prefix="hard-train-"))  # noqa: SIM115 - the stack closes it
    with member.open() as file:
        shutil.copyfileobj(file, copy, _COPY_BYTES)
    return stack.enter_context(zipfile.ZipFile(copy))


def _of_folder(folder: Path, inner: str | None, stack: ExitStack) -> Iterator[Member]:
    for root, folders, names in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        for name in names:
            local = Path(root) / name
            path = PurePosixPath(local.relative_to(folder).as_posix())
            if _is_junk(path):
                continue
            member = Member(path, partial(_opened, local), local)
            if inner is not None and re.fullmatch(inner, name):
                yield from _of_zip(_entered(member, stack), path, inner, stack)
            else:
                yield member


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _of_tar(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive.getmembers():
        path = PurePosixPath(info.name)
        if info.isfile() and not _is_junk(path):
            yield Member(path, partial(_extracted, archive, info))


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast("IO[bytes]", archive.extractfile(info))  # None for no file; `isfile` said it is


@contextmanager
def unpacked(first: Member, *others: Member) -> Iterator[Path]:
    """Give the first as a file on disk, with the others where they lie relative to it."""
    members = (first, *others)
    if all(member.local is not None for member in members):
        assert first.local is not None
        yield first.local
        return
    top = PurePosixPath(os.path.commonpath([member.path.parent for member in members]))
    with TemporaryDirectory(prefix="hard-train-") as folder:
        for member in members:
            copy = Path(folder) / member.path.relative_to(top)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as file, copy.open("wb") as target:
                shutil.copyfileobj(file, target, _COPY_BYTES)
        yield Path(folder) / first.path.relative_to(top)


def on_disk(member: Member) -> AbstractContextManager[Path]:
    """Give a member as a file of its own, which is what the parsers read."""
    return unpacked(member)
