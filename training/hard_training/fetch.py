"""Gets a data set's archive from its authors' address.

A download goes to NAME.part and goes on there next time, by HTTP ranges, if the server still has
the same file; NAME appears once all of it is there and it opens.  Its sha256 is written beside
(NAME.sha256) at the first download and compared at every later one: it tells that an archive
changed, not that the first was what the authors meant, for none of them publishes a checksum that
we could hold against it.  Called by the command `hard-train fetch`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from hard_training.datasets import DataSet

__all__ = ["FetchFailed", "Fetched", "OnProgress", "fetch"]

_BLOCK_BYTES = 256 * 1024
_TIMEOUT_S = 30.0
_MOST_BREAKS = 5
"""So often in a row a connection may break without a byte having come."""
_SPARE_BYTES = 64 * 1024 * 1024
"""What a download leaves free on the disk."""

OnProgress: TypeAlias = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many, None where the server doesn't say."""


class FetchFailed(Exception):  # noqa: N818 - a state of the world, told to the user
    """The archive can't be had; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An archive that is there: where, its sha256, and whether it was there already."""

    path: Path
    sha256: str
    already: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """The file under way, and beside it what tells whether the server still has the same one."""

    path: Path

    @property
    def _about(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def n_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str:
        """Return the ETag or date of what the part was begun from, "" where nobody knows."""
        try:
            return str(json.loads(self._about.read_text("utf-8"))["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, validator: str) -> None:
        self.path.write_bytes(b"")
        self._about.write_text(json.dumps({"validator": validator}), "utf-8")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def become(self, path: Path) -> None:
        self.path.rename(path)
        self._about.unlink(missing_ok=True)


def fetch(data_set: DataSet, data: Path, on_progress: OnProgress) -> Fetched:
    """Download a data set's archive into `data` unless it is there; return where it is.

    Raises `FetchFailed`; what came so far stays and is gone on with next time.
    """
    there = data_set.container(data)
    if there is not None:
        return Fetched(there, _sha256(there) if there.is_file() else "", already=True)
    if data_set.url is None:
        raise FetchFailed(
            f"{data_set.title}: nothing to download; put it into {data}/{data_set.name}: "
            f"{data_set.obtain}"
        )
    target = data / data_set.archives[0]
    part = _Part(target.with_name(f"{target.name}.part"))
    try:
        data.mkdir(parents=True, exist_ok=True)
        _download(data_set.url, part, on_progress)
        found = _checked(part, target)
        part.become(target)
    except OSError as error:
        raise FetchFailed(f"{data}: can't be written to ({error.strerror or error})") from error
    return Fetched(target, found, already=False)


def _download(url: str, part: _Part, on_progress: OnProgress) -> None:
    """Get all of it, going on where a connection broke."""
    breaks = 0
    while True:
        before = part.n_bytes
        try:
            if _get(url, part, on_progress):
                return
            why = "the connection broke off"
        except urllib.error.HTTPError as error:
            error.close()
            raise FetchFailed(_refusal(url, error, part)) from error
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            why = str(error) or type(error).__name__
        except urllib.error.URLError as error:
            raise FetchFailed(
                f"{url}: can't be reached ({error.reason}); try again with a network, or get it by "
                f"other means and put it at {part.path.with_suffix('')}"
            ) from error
        breaks = 0 if part.n_bytes > before else breaks + 1
        if breaks == _MOST_BREAKS:
            raise FetchFailed(
                f"{url}: {why}, {_MOST_BREAKS} times at byte {part.n_bytes}; run the command again "
                "to go on from there"
            )


def _refusal(url: str, error: urllib.error.HTTPError, part: _Part) -> str:
    return (
        f"{url}: the server says {error.code} {error.reason!r}; its authors may have moved it: get "
        f"it by hand and put it at {part.path.with_suffix('')}"
    )


def _get(url: str, part: _Part, on_progress: OnProgress) -> bool:
    """Ask once, for what is missing; return whether all of it is there then."""
    begin, validator = part.n_bytes, part.validator()
    headers = {"User-Agent": "hard-train", "Accept-Encoding": "identity"}
    if begin and validator:
        headers |= {"Range": f"bytes={begin}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) by the registry
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 - see above
    except urllib.error.HTTPError as error:
        if error.code != 416 or not begin:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{begin}":
            return True  # all of it came before the last connection broke
        part.remove()
        return False
    with answer:
        total = _total(answer)
        if answer.status != 206:
            part.begin(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        elif _first_byte(answer) != begin:
            part.remove()
            return False
        _check_space(part, total)
        return _append(answer, part, total, on_progress)


def _append(
    answer: http.client.HTTPResponse, part: _Part, total: int | None, on_progress: OnProgress
) -> bool:
    n = part.n_bytes
    with part.path.open("ab") as file:
        while block := answer.read(_BLOCK_BYTES):
            file.write(block)
            n += len(block)
            on_progress(n, total)
    if total is not None and n > total:
        part.remove()
        raise FetchFailed(
            f"{part.path}: {n} bytes came of {total}; the server is confused, try again later"
        )
    return total is None or n == total


def _total(answer: http.client.HTTPResponse) -> int | None:
    """Return the size of the whole file as far as the server says."""
    if answer.status == 206:
        found = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _first_byte(answer: http.client.HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _check_space(part: _Part, total: int | None) -> None:
    free = shutil.disk_usage(part.path.parent).free
    wanted = 0 if total is None else total - part.n_bytes
    if free < wanted + _SPARE_BYTES:
        raise FetchFailed(
            f"{part.path.parent}: {free / 1e6:.0f} MB free, {(wanted + _SPARE_BYTES) / 1e6:.0f} MB "
            "needed; make room, or name another folder with --data"
        )


def _checked(part: _Part, target: Path) -> str:
    """Return the sha256 of a whole download that opens and is what it was before."""
    if not (zipfile.is_zipfile(part.path) or tarfile.is_tarfile(part.path)):
        part.remove()
        raise FetchFailed(
            f"{target.name}: what came is no archive (a page that wants a click, maybe); get it by "
            f"hand and put it at {target}"
        )
    found, noted = _sha256(part.path), target.with_name(f"{target.name}.sha256")
    if not noted.exists():
        noted.write_text(f"{found}  {target.name}\n", "utf-8")
    elif noted.read_text("utf-8").split()[:1] != [found]:
        part.remove()
        raise FetchFailed(
            f"{target.name}: its sha256 {found} is not the one in {noted}: its authors changed it, "
            "or it came damaged; delete that file to take the new one"
        )
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
