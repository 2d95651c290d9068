"""Puts a model among the installed ones: read whole, tried in another process, then swapped in.

    STATE/models/NAME -> .NAME.xxxxxxxx      a link, which is replaced at once
    STATE/models/.NAME.xxxxxxxx/             NAME.json and NAME.tflite

Nothing of an archive becomes a path: its members are read into memory, bounded.  Whatever is wrong
is one `ModelRefused`, and nothing stays behind.  How installed models are found says `hard.card`.
`hard models install` is the only caller.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import lzma
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from hard.card import ModelCard, ModelRefused, bundled, installed_card
from hard.classifier import prove

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bundle", "bundle_from", "install", "is_url"]

MAX_CARD_BYTES: Final = 4 * 2**20
MAX_MODEL_BYTES: Final = 64 * 2**20
_MAX_FILE_BYTES: Final = MAX_CARD_BYTES + MAX_MODEL_BYTES
_MAX_MEMBERS: Final = 1000
_ANSWER_TIMEOUT_S: Final = 20.0
_CHUNK_BYTES: Final = 2**16
_ZIP: Final = b"PK\x03\x04"
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,  # a method of compression that is not known
    RuntimeError,  # a password is wanted
    ValueError,
)
_GIVE: Final = "give the card (NAME.json), the folder or the zip that holds it and NAME.tflite"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A card and its model, as bytes, and where they come from."""

    source: str
    card: bytes
    model: bytes


def is_url(source: str) -> bool:
    """Tell whether a source is fetched."""
    return "://" in source


def bundle_from(
    source: str, sha256: str | None, progress: Callable[[str], None] | None = None
) -> Bundle:
    """Return what there is to install: of a card, a folder, a zip or a URL of card or zip.

    `sha256` (hex) is that of the file named; a URL needs one.  `progress` hears how much has come.
    Raises `ModelRefused`.
    """
    if is_url(source):
        if sha256 is None:
            raise ModelRefused(f"{source}: a model from elsewhere needs --sha256, its file's hash")
        fetched = _checked(source, _fetched(source, _MAX_FILE_BYTES, progress), sha256)
        return _bundle(source, fetched, lambda: _model_beside(source, progress))
    path = Path(source)
    if path.is_dir():
        if sha256 is not None:
            raise ModelRefused(f"{source}: --sha256 is of a file, this is a folder: name its card")
        path = _card_in(path)
    elif path.suffix == ".tflite":
        path = path.with_suffix(".json")
    named = _checked(source, _read(path, _MAX_FILE_BYTES), sha256)
    return _bundle(source, named, lambda: _read(path.with_suffix(".tflite"), MAX_MODEL_BYTES))


def install(bundle: Bundle, folder: Path, *, force: bool) -> tuple[ModelCard, bool]:
    """Put a model into `folder` once it has proved itself; return its card, and if it is new there.

    One of its name and with other contents is replaced with `force` only.  Raises `ModelRefused`.
    """
    card = _proven(bundle)
    if card.name in bundled():
        raise ModelRefused(
            f"{bundle.source}: {card.name!r} is the name of a bundled model: give it another in its"
            " card"
        )
    place = folder / card.name
    if _is_the_same(installed_card(folder, card.name), bundle):
        return card, False
    if os.path.lexists(place) and not force:
        raise ModelRefused(f"{place}: another model of this name is there: --force replaces it")
    if place.is_dir() and not place.is_symlink():
        raise ModelRefused(f"{place}: was not put there by hard: remove it first")
    try:
        _put(bundle, card.name, folder)
    except OSError as error:
        raise ModelRefused(f"{place}: can't be written: {error.strerror}") from error
    return card, True


# -- reading -------------------------------------------------------------------------------------


def _checked(source: str, data: bytes, sha256: str | None) -> bytes:
    """Return the bytes of a file whose hash is as promised."""
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ModelRefused(
            f"{source}: its sha256 is {found[:12]}…, not {sha256[:12]}…: another file, or damaged"
        )
    return data


def _bundle(source: str, data: bytes, model: Callable[[], bytes]) -> Bundle:
    """Return the bundle of a file: a zip of both, or a card, whose model then is beside it."""
    if data.startswith(_ZIP):
        return _unzipped(source, data)
    if data[4:8] == b"TFL3":
        raise ModelRefused(f"{source}: a model without its card: {_GIVE}")
    if len(data) > MAX_CARD_BYTES:
        raise ModelRefused(f"{source}: too large for a model card: {_GIVE}")
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{source}: neither a zip nor a model card (JSON): {_GIVE}") from error
    return Bundle(source, data, model())


def _card_in(folder: Path) -> Path:
    """Return the one card of a folder that has its model beside it."""
    cards = [
        path for path in sorted(folder.glob("*.json")) if path.with_suffix(".tflite").is_file()
    ]
    if len(cards) != 1:
        found = ", ".join(path.name for path in cards) or "none"
        raise ModelRefused(f"{folder}: holds not one model but {found}: name the card")
    return cards[0]


def _read(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; a link, a pipe or a device is none."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ModelRefused(f"{path}: no regular file: {_GIVE}")
        with path.open("rb") as file:
            return _bounded(str(path), file, most)
    except OSError as error:
        raise ModelRefused(f"{path}: can't be read: {error.strerror}: {_GIVE}") from error


def _bounded(
    what: str, file: IO[bytes], most: int, progress: Callable[[str], None] | None = None
) -> bytes:
    data = bytearray()
    while chunk := file.read(_CHUNK_BYTES):
        data += chunk
        if len(data) > most:
            raise ModelRefused(f"{what}: larger than {most / 2**20:.0f} MB: no model for hard")
        if progress is not None:
            progress(f"{len(data) / 1e6:.1f} MB")
    return bytes(data)


def _fetched(url: str, most: int, progress: Callable[[str], None] | None) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ModelRefused(f"{url}: only http:// and https:// are fetched")
    try:
        with urlopen(url, timeout=_ANSWER_TIMEOUT_S) as answer:  # noqa: S310 - looked at above
            return _bounded(url, answer, most, progress)
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise ModelRefused(f"{url}: can't be fetched: {error}") from error


def _model_beside(url: str, progress: Callable[[str], None] | None) -> bytes:
    """Fetch the model of a card's URL; the card has its hash."""
    parts = urlsplit(url)
    path = str(PurePosixPath(parts.path).with_suffix(".tflite"))
    return _fetched(urlunsplit(parts._replace(path=path)), MAX_MODEL_BYTES, progress)


def _unzipped(source: str, data: bytes) -> Bundle:
    """Return the card and the model of an archive that holds one of each."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in _safe(source, archive.infolist())}
            cards = {
                PurePosixPath(name): PurePosixPath(name).with_suffix(".tflite")
                for name in members
                if name.endswith(".json")
            }
            pairs = [(card, model) for card, model in cards.items() if str(model) in members]
            if len(pairs) != 1:
                raise ModelRefused(
                    f"{source}: holds {len(pairs)} models and not one: NAME.json and NAME.tflite"
                )
            (card, model) = pairs[0]
            with archive.open(members[str(card)]) as file:
                card_bytes = _bounded(f"{source}: {card}", file, MAX_CARD_BYTES)
            with archive.open(members[str(model)]) as file:
                model_bytes = _bounded(f"{source}: {model}", file, MAX_MODEL_BYTES)
    except _ZIP_ERRORS as error:
        raise ModelRefused(f"{source}: a damaged or locked archive: {error}") from error
    return Bundle(source, card_bytes, model_bytes)


def _safe(source: str, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the files of an archive; refuse it where it looks like an attack."""
    if len(members) > _MAX_MEMBERS:
        raise ModelRefused(f"{source}: holds {len(members)} files: no archive of a model")
    for info in members:
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",):
            raise ModelRefused(f"{source}: {info.filename!r} leads out of the archive: not opened")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ModelRefused(f"{source}: {info.filename!r} is a link: not opened")
    return [
        info
        for info in members
        if not info.is_dir() and not PurePosixPath(info.filename).name.startswith(".")
    ]


# -- proving and placing -------------------------------------------------------------------------


def _proven(bundle: Bundle) -> ModelCard:
    """Return the card of a model that loads and computes what it should, in another process."""
    with tempfile.TemporaryDirectory(prefix="hard-model-") as aside:
        path = Path(aside, "model.json")
        try:
            path.write_bytes(bundle.card)
            path.with_suffix(".tflite").write_bytes(bundle.model)
        except OSError as error:
            raise ModelRefused(f"{aside}: can't be written: {error.strerror}") from error
        try:
            card, _ = ModelCard.load(path)
            prove(path)
        except ModelRefused as error:
            told = (
                str(error).replace(f"{path}: ", "").replace(f"{path.with_suffix('.tflite')}: ", "")
            )
            raise ModelRefused(f"{bundle.source}: {told}") from error
    return card


def _is_the_same(card: Path, bundle: Bundle) -> bool:
    try:
        return (
            card.read_bytes() == bundle.card
            and card.with_suffix(".tflite").read_bytes() == bundle.model
        )
    except OSError:
        return False


def _put(bundle: Bundle, name: str, folder: Path) -> None:
    """Write a folder of the model's own and let its name lead there; remove those of before."""
    folder.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    link = new.with_name(f"{new.name}.link")
    try:
        new.chmod(0o755)  # the service is another user
        for suffix, data in ((".tflite", bundle.model), (".json", bundle.card)):
            with (new / f"{name}{suffix}").open("wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
        link.symlink_to(new.name)
        link.replace(folder / name)
    except BaseException:
        link.unlink(missing_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds others
            folder.rmdir()
        raise
    for old in folder.glob(f".{name}.*"):
        if old != new:
            shutil.rmtree(old, ignore_errors=True)
