"""Which models have run once in a process of their own, on this machine with this runtime.

A damaged model can end the process that loads it, so one that did not come with the package proves
itself before the daemon loads it.  That costs a start of Python; so what was proved is kept in the
state directory, by hash, until runtime or machine are others.

Called by the commands that load models; the proof itself is `hard.classifier.prove`.
"""

from __future__ import annotations

import json
import logging
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from hard.card import ModelCard, is_bundled
from hard.classifier import prove, runtime_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Proofs", "runtime"]

_FILE: Final = "proven-models.json"
_MOST: Final = 100
"""So many are remembered; of more the first ones prove themselves again."""

_log = logging.getLogger(__name__)


def runtime() -> str:
    """Return what runs the models here: "tflite-runtime 2.14.0, numpy 1.26.4, Python …"."""
    packages = ", ".join(f"{name} {version(name)}" for name in (runtime_name(), "numpy"))
    return f"{packages}, Python {platform.python_version()}"


class Proofs:
    """What has been proved, remembered in `state_folder`; without one as long as this lives."""

    def __init__(self, state_folder: Path | None) -> None:
        self._path = None if state_folder is None else state_folder / _FILE
        self._here = f"{runtime()}, {platform.machine()}"
        self._proven = self._remembered()

    def __contains__(self, name_or_path: str | Path) -> bool:
        """Tell whether a model may be loaded; raises `ModelRefused` where its card can't be."""
        return is_bundled(name_or_path) or ModelCard.load(name_or_path)[0].sha256 in self._proven

    def demand(self, name_or_path: str | Path) -> None:
        """Let a model prove itself unless it has; raises `ModelRefused`.

        Takes about as long as the imports do, at most 30 s.
        """
        if name_or_path not in self:
            prove(name_or_path)
            self.add(ModelCard.load(name_or_path)[0].sha256)

    def add(self, sha256: str) -> None:
        """Remember that a model has proved itself."""
        self._proven[sha256] = None
        if self._path is None:
            return
        text = json.dumps({"with": self._here, "sha256": [*self._proven][-_MOST:]})
        aside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(f"{text}\n", "utf-8")
            aside.replace(self._path)
        except OSError as error:  # full or read-only: it is proved again at the next start
            _log.debug("%s: can't be written: %s", self._path, error)

    def _remembered(self) -> dict[str, None]:
        """Return the hashes, in the order of their proofs; none where the file is of no use."""
        if self._path is None:
            return {}
        try:
            body = json.loads(self._path.read_text("utf-8"))
            if body["with"] == self._here:
                return dict.fromkeys(map(str, body["sha256"]))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            _log.debug("%s: can't be used: %s", self._path, error)
        return {}
