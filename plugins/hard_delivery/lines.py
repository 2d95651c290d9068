"""Lines appended to a file that is safe on the disk, rotated, compressed and bounded.

`LineFile` belongs to one sink and is called from its thread alone.  A rotated file is named after
the moment (UTC), `events-20260501T093000Z.jsonl`, and compressed a piece at a time by `tend`, so
that no event waits for it; whatever the moment of a crash, no line is lost and none is there twice.
"""

from __future__ import annotations

import os
import re
import stat
import time
import zlib
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import Field

from hard.api import PluginConfig, SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTES_PER_MB: Final = 1_000_000
_PIECE_BYTES: Final = 1_048_576
"""So much is compressed in a second: less than 0.1 s of work on a Raspberry Pi."""
_MODE: Final = 0o640
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_GZIP_WBITS: Final = 31


FilePath: TypeAlias = Annotated[Path, Field(strict=False)]


class RotationConfig(PluginConfig):
    """When another file begins, and how many of the old ones stay."""

    rotate_mb: float = Field(10.0, ge=0)
    daily: bool = False
    compress: bool = True
    keep_files: int = Field(30, ge=0)
    max_mb: float = Field(100.0, ge=0)


class LineFile:
    """The file of one sink; every method raises `SinkUnavailable` where the disk does not let it.

    `skip(reason, detail)` counts and says what was left out, as a plugin's own does.
    """

    def __init__(
        self, path: Path, config: RotationConfig, skip: Callable[[str, str], None]
    ) -> None:
        self._path = path
        self._config = config
        self._skip = skip
        self._archive = _Archive(path, config, skip)
        self._file: int | None = None
        self._is_regular = False
        self._day = (0, 0, 0)

    def open(self) -> None:
        """Open the file, make its folders, end a line that a power cut tore."""
        try:
            self._begin()
            if self._is_regular:
                self._archive.look()
                self._rotate_if(0)
        except OSError as error:
            raise self._unavailable(error) from error

    def append(self, lines: bytes) -> None:
        """Append whole lines; they are on the disk when this returns, or none of them is there."""
        if self._file is None:
            raise SinkUnavailable("not open")
        try:
            self._follow()
            self._rotate_if(len(lines))
            self._write(self._file, lines)
        except OSError as error:
            raise self._unavailable(error) from error
        self._day = time.localtime()[:3]

    def tend(self) -> None:
        """Make what was removed again, begin a new day's file, compress a piece; once a second."""
        if self._file is None or not self._is_regular:
            return
        try:
            self._follow()
            self._rotate_if(0)
        except OSError as error:
            raise self._unavailable(error) from error
        self._archive.tend()

    def close(self) -> None:
        """Close everything; what is half compressed is begun again next time."""
        self._archive.close()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _begin(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(
            self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE
        )  # fmt: skip
        found = os.fstat(self._file)
        self._is_regular = stat.S_ISREG(found.st_mode)
        self._day = time.localtime(found.st_mtime)[:3]
        if found.st_size and os.pread(self._file, 1, found.st_size - 1) != b"\n":
            self._skip("torn_line", f"{str(self._path)!r} ended within a line: line ended")
            _write_all(self._file, b"\n")
        sync_folder(self._path.parent)

    def _write(self, file: int, lines: bytes) -> None:
        size = os.fstat(file).st_size
        try:
            _write_all(file, lines)
            os.fsync(file)
        except OSError:
            with suppress(OSError):  # nothing of it stays: it will be written again
                os.ftruncate(file, size)
            raise

    def _follow(self) -> None:
        """Begin again where somebody moved or removed the file."""
        if self._file is None or not self._is_regular:
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(self._path.stat(), os.fstat(self._file)):
                return
        self._skip("file_moved", f"{str(self._path)!r} was moved or removed: begun again")
        os.close(self._file)
        self._file = None
        self._begin()

    def _rotate_if(self, more_bytes: int) -> None:
        """Begin another file if it is full with so much more, or of another day."""
        assert self._file is not None
        size = os.fstat(self._file).st_size if self._is_regular else 0
        limit = self._config.rotate_mb * _BYTES_PER_MB
        full = limit > 0 and size + more_bytes > limit
        if size and (full or (self._config.daily and self._day != time.localtime()[:3])):
            os.close(self._file)
            self._file = None
            self._archive.take()
            self._begin()

    def _unavailable(self, error: OSError) -> SinkUnavailable:
        return SinkUnavailable(
            f"can't append to {str(self._path)!r} ({error.strerror or error}): free space or "
            "change path"
        )


class _Archive:
    """The rotated files beside the one that grows."""

    def __init__(
        self, path: Path, config: RotationConfig, skip: Callable[[str, str], None]
    ) -> None:
        self._path = path
        self._folder = path.parent
        self._config = config
        self._skip = skip
        name = re.escape(path.stem), re.escape(path.suffix)
        self._name = re.compile(rf"{name[0]}-(\d{{8}}T\d{{6}}Z){name[1]}(\.gz)?")
        self._waiting: deque[Path] = deque()  # to be compressed
        self._packing: _Packing | None = None

    def look(self) -> None:
        """See what an earlier run left; finish what a crash interrupted."""
        files = self._files()
        for part in self._folder.glob(f"{escape(self._path.stem)}-*.gz.part"):
            part.unlink(missing_ok=True)
        whole = {path.name for path in files}
        for path in files:
            if f"{path.name}.gz" in whole:  # the crash came before the original was removed
                path.unlink(missing_ok=True)
        plain = [path for path in self._files() if path.suffix != ".gz"]
        self._waiting = deque(plain if self._config.compress else [])
        self._prune()

    def take(self) -> None:
        """Rename the file that is full to its place here."""
        self._path.rename(self._free_name())
        sync_folder(self._folder)
        if self._config.compress:
            self._waiting = deque(p for p in self._files() if p.suffix != ".gz")
        self._prune()

    def tend(self) -> None:
        """Compress a piece of what waits."""
        if self._packing is None and not self._waiting:
            return
        try:
            if self._packing is None:
                self._packing = _Packing(self._waiting.popleft())
            if self._packing.step():
                self._packing = None
                self._prune()
        except FileNotFoundError:  # the original was removed meanwhile: its owner's right
            self.close()
        except OSError as error:
            self.close()
            reason = error.strerror or error
            self._skip("not_compressed", f"a full file in {str(self._folder)!r} stays: {reason}")

    def close(self) -> None:
        """Stop compressing."""
        packing, self._packing = self._packing, None
        if packing is not None:
            packing.abandon()

    def _files(self) -> list[Path]:
        """Return the rotated files, the oldest first."""
        found = (path for path in self._folder.iterdir() if self._name.fullmatch(path.name))
        return sorted(path for path in found if path.is_file())

    def _free_name(self) -> Path:
        """Return the name for a file that is full now, behind all that are there."""
        moment = datetime.now(UTC).replace(microsecond=0)
        for old in self._files():
            match = self._name.fullmatch(old.name)
            assert match is not None
            with suppress(ValueError):  # digits that are no date
                then = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
                moment = max(moment, then + timedelta(seconds=1))
        path = self._path
        return path.with_name(f"{path.stem}-{moment:{_STAMP}}{path.suffix}")

    def _prune(self) -> None:
        """Remove the oldest while there are too many, or too much."""
        files = self._files()
        total = sum(path.stat().st_size for path in files)
        while files and (
            len(files) > self._config.keep_files or total > self._config.max_mb * _BYTES_PER_MB
        ):
            oldest = files.pop(0)
            total -= oldest.stat().st_size
            oldest.unlink()
            with suppress(ValueError):
                self._waiting.remove(oldest)
            self._skip("pruned_files", f"{oldest.name!r} is removed: keep_files, max_mb")


class _Packing:
    """One file on its way to `NAME.gz`, which appears when it is whole and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.gz.part")
        self._packer = zlib.compressobj(wbits=_GZIP_WBITS)
        self._source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sink = os.open(
                self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE
            )
        except OSError:
            os.close(self._source)
            raise

    def step(self) -> bool:
        """Compress a piece; return whether that was the last."""
        if piece := os.read(self._source, _PIECE_BYTES):
            _write_all(self._sink, self._packer.compress(piece))
            return False
        _write_all(self._sink, self._packer.flush())
        os.fsync(self._sink)
        self._part.replace(self._path.with_name(f"{self._path.name}.gz"))
        sync_folder(self._path.parent)
        self._path.unlink()
        self._release()
        return True

    def abandon(self) -> None:
        """Leave the original as the only one."""
        self._release()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _release(self) -> None:
        os.close(self._source)
        os.close(self._sink)


def sync_folder(folder: Path) -> None:
    """Write a folder to the disk: without it a power cut may take a new file, name and all."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(file: int, data: bytes) -> None:
    # On a nearly full disk a write may take only a part; the next one then says why.
    while data:
        data = data[os.write(file, data) :]
