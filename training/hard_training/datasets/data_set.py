"""A data set: how its archive is found and read, and what may be said about it.

The registry in `hard_training.datasets` has one of each; `hard_training.fetch` gets the archive.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hard.api import UnusableInput
from hard_file import Options, open_recording
from hard_training.augmentation import Augmentation
from hard_training.datasets.archive import open_archive
from hard_training.datasets.recordings import DataMissing, DataUnusable, Recording, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hard.api import Message
    from hard_file.recording import Format
    from hard_training.datasets.archive import Archive

__all__ = ["DataSet", "Loading", "parsed"]

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,  # a compression that nobody uses
    RuntimeError,  # a password
    UnicodeError,
)


@dataclass(frozen=True, slots=True)
class Loading:
    """What a loader is given: the open archive, the placement wanted, where to count defects."""

    archive: Archive
    placement: str
    defects: Counter[str]


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set, at one of its placements.

    `archives` are the file names it goes by, the first is what `fetch` calls it; `folders` those
    it unpacks to; `inner` matches archives within the archive.  `url` is its authors' address for
    the archive, None where they hand it out otherwise; `obtain` is the page about it.  `labels` are
    what is trained on by default, `more_labels` what else occurs.
    """

    name: str
    title: str
    placements: tuple[str, ...]
    labels: tuple[str, ...]
    people: int
    rate_hz: str
    units: str
    terms: str
    citation: str
    obtain: str
    url: str | None
    archives: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[Loading], Iterator[Recording]]
    more_labels: tuple[str, ...] = ()
    inner: str | None = None
    split: Split = Split(validation=(), test=())  # noqa: RUF009 - frozen
    official_split: bool = False
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 - frozen
    placed: str | None = None

    @property
    def placement(self) -> str:
        """Where it is worn: the first of its placements unless `at` chose another."""
        return self.placed or self.placements[0]

    @property
    def licence(self) -> str:
        """Its terms and whom to cite, as a model's card repeats them."""
        return f"{self.title}: {self.terms}; cite {self.citation}"

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Every label that occurs."""
        return self.labels + self.more_labels

    def at(self, placement: str) -> DataSet:
        """Return the same set at another of its placements; raise `DataMissing` for others."""
        if placement not in self.placements:
            known = ", ".join(self.placements)
            raise DataMissing(f"{self.title} has no placement {placement!r}; it has {known}")
        return replace(self, placed=placement)

    def recordings(self, data: Path, defects: Counter[str] | None = None) -> Iterator[Recording]:
        """Yield every recording below `data`, in a fixed order; count in `defects` what is wrong.

        Raises `DataMissing` where there is no archive, `DataUnusable` where it can't be read.
        """
        container = self.container(data)
        if container is None:
            raise DataMissing(
                f"{data}: no {self.title} there (looked for {' or '.join(self._names())}); get it "
                f"from {self.obtain} and point --data or $HARD_DATA at the folder that holds it"
            )
        found = False
        try:
            with open_archive(container, self.inner) as archive:
                counts = Counter[str]() if defects is None else defects
                for recording in self.read(Loading(archive, self.placement, counts)):
                    found = True
                    yield recording
            if not found:
                raise DataUnusable(  # noqa: TRY301 - worded below, as the others
                    f"{container}: no recording in it is of the {self.placement}"
                )
        except (DataUnusable, UnusableInput, *_DAMAGED) as error:
            wrong = error if isinstance(error, DataUnusable) else f"{container}: {error}"
            raise DataUnusable(
                f"{wrong} ({self.title}); delete it and get it again from {self.obtain}"
            ) from error

    def is_in(self, data: Path) -> bool:
        """Tell whether there is an archive or a folder by its name, whatever state it is in."""
        return self.container(data) is not None

    def container(self, data: Path) -> Path | None:
        """Return the archive or the unpacked folder below `data`, or `data` if it is that."""
        for name in self._names():
            if (data / name).exists():
                return data / name
        return data if data.name in self._names() and data.exists() else None

    def _names(self) -> tuple[str, ...]:
        return (*self.folders, self.name, *self.archives)


def parsed(path: Path, form: Format, defects: Counter[str], **settings: Any) -> Iterator[Message]:
    """Yield a file's messages by its parser; what that leaves out is counted by its reason.

    `settings` are those of `hard_file.Options` that the format leaves open, such as `accel_unit`.
    """

    def skip(reason: str, detail: str) -> None:
        del detail
        defects[reason] += 1

    for message in open_recording(path, Options(format=form, **settings)).messages(skip):
        if message:
            yield message
