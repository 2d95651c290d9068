"""The configuration that a command is meant to use, and the models that it names."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hard.commands.terminal import BAD_CONFIGURATION, BAD_USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hard.api import Description
    from hard.classifier import TFLiteClassifier
    from hard.config import Configuration, Settings
    from hard.eventlog import EventLog
    from hard.pipeline import Choice
    from hard.proofs import Proofs

__all__ = [
    "PLACES",
    "Models",
    "configuration_path",
    "default_path",
    "event_log",
    "loaded",
    "log_path",
    "state_kept",
]

PLACES = (Path("hard.toml"), Path("/etc/hard/hard.toml"))
"""Where a configuration is looked for that is not named, in this order."""


def default_path(places: Sequence[Path] = PLACES) -> Path | None:
    """Return the first configuration file that is there."""
    return next((path for path in places if _is_there(path)), None)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True  # reading it will say so
    except OSError:
        return False
    return True


def configuration_path(given: Path | None) -> Path:
    """Return the configuration file to use; say so where it was not given, exit without one."""
    if given is not None:
        return given
    path = default_path()
    if path is None:
        here, system = PLACES
        fail(
            f"no configuration: neither ./{here} nor {system} is there; name one (-c FILE), or let "
            "hard init make one",
            BAD_USAGE,
        )
    typer.echo(f"using {path.absolute()}", err=True)
    return path


def loaded(path: Path | None, needs: Collection[str] = ()) -> Configuration:
    """Return the checked configuration, None for the defaults; exit with every error of it."""
    from hard import config  # noqa: PLC0415

    try:
        return config.load(path, needs)
    except config.ConfigError as error:
        fail(error, BAD_CONFIGURATION)


def state_kept(config: Path) -> Path | None:
    """Return where the daemon of a configuration keeps its state, though it has errors by now."""
    from hard.config import kept_in, state_folder  # noqa: PLC0415

    return kept_in(state_folder(config), config)


def log_path(config: Path) -> Path:
    """Return the event log of a configuration, whether it is there or not; exit without one."""
    from hard.config import kept_in  # noqa: PLC0415

    folder = kept_in(loaded(config).settings.hard.state_dir, config)
    if folder is None:
        fail(f"{config}: hard.state_dir: missing: without it nothing is kept", BAD_CONFIGURATION)
    return folder / "events.db"


def event_log(settings: Settings, state_folder: Path | None) -> EventLog:
    """Return the event log of a configuration, open; in memory without a state directory."""
    from hard.eventlog import EventLog, EventLogError  # noqa: PLC0415

    path = None if state_folder is None else state_folder / "events.db"
    full = settings.log.sync == "full"
    try:
        return EventLog(
            path, bounds=settings.log.bounds(), synchronous="FULL" if full else "NORMAL"
        )
    except EventLogError as error:
        fail(error)


class Models:
    """Gives every stream its model and decision settings; each model is loaded once."""

    def __init__(
        self, settings: Settings, only: str | None = None, proofs: Proofs | None = None
    ) -> None:
        """Take the models from `settings`, or `only` this one for all streams.

        With `proofs` a model that might end this process is not loaded before one of its own has
        survived it.
        """
        self._settings, self._proofs = settings, proofs
        self._only = None if only is None else settings.located(only)
        self._loaded: dict[str, TFLiteClassifier] = {}
        self._spare: set[str] = set()  # models that were found for streams without a gyroscope
        self._told: set[tuple[str, str]] = set()

    def load(self, name: str) -> TFLiteClassifier:
        """Return the model of this name; raises `ModelRefused`."""
        from hard.classifier import TFLiteClassifier  # noqa: PLC0415

        if name not in self._loaded:
            if self._proofs is not None:
                self._proofs.demand(name)
            model = TFLiteClassifier.load(name)
            self._settings.decision.over(model.card)
            self._loaded[name] = model
        return self._loaded[name]

    def load_all(self) -> None:
        """Let every configured model prove itself now, and what might take its place."""
        for name in self.names():
            self.load(name)
        self._prove_spares()

    def _prove_spares(self) -> None:
        """Let models for streams without a gyroscope prove themselves; say which can't be used.

        Not when such a stream comes: the others would have to wait.
        """
        from hard.card import ModelRefused  # noqa: PLC0415

        proofs = self._proofs
        if proofs is None:
            return
        for name in self.names():
            if not self.load(name).card.input.uses_gyro:
                continue
            for spare in self._spares(name):
                try:
                    proofs.demand(spare)
                except ModelRefused as error:
                    self._tell("*", f"without a gyroscope can't use a model: {error}")

    def names(self) -> list[str]:
        """Return the models of the configuration, as `load` takes them."""
        if self._only:
            return [self._only]
        rules = [rule.model for rule in self._settings.streams if rule.model]
        return [self._settings.model.name, *rules]

    def identities(self) -> list[str]:
        """Return name and hash of the models in use."""
        return sorted({model.card.identity for model in self._loaded.values()})

    def choose(self, stream: str) -> Choice:
        """Return what the pipeline asks for; say once where the model was trained elsewhere."""
        model = self.load(self._only or self._settings.model_for(stream))
        worn = self._settings.placement_of(stream)
        if worn not in (None, model.card.placement):
            self._tell(
                stream,
                f"is worn {worn!r}, the model {model.card.name} was trained on "
                f"{model.card.placement!r}: choose another model for it",
            )
        return model, self._settings.decision

    def describe(self, stream: str, model: str) -> Description:
        """Return what the stream is called and can say, with this model (name and hash)."""
        from hard.api import Description  # noqa: PLC0415
        from hard.daily import RESTING  # noqa: PLC0415
        from hard.decision import OFF_BODY, UNKNOWN  # noqa: PLC0415

        # Another than the configured one, say, where there is no gyroscope.
        cards = [m.card for m in list(self._loaded.values()) if m.card.identity == model]
        configured = self._only or self._settings.model_for(stream)
        card = cards[0] if cards else self.load(configured).card
        rests = {*card.postures, *RESTING, OFF_BODY}
        activities = (*card.states, UNKNOWN, OFF_BODY)
        resting = tuple(activity for activity in activities if activity in rests)
        name = self._settings.name_of(stream)
        return Description(stream, name, card.identity, activities, resting)

    def without_gyro(self, stream: str, wanted: str | None = None) -> Choice | None:
        """Return what to use where a stream has no gyroscope, None where nothing is installed.

        That is a model of the same placement as the one `wanted` (else the configured one) that
        needs none, one of the same frame first; it is looked for among the bundled and installed
        ones and beside that card.
        """
        from hard.card import ModelRefused  # noqa: PLC0415

        name = wanted or self._only or self._settings.model_for(stream)
        meant = self.load(name).card
        for other in self._spares(name):
            if self._proofs is not None and other not in self._proofs:
                continue  # refused, or there since after the start
            try:
                model = self.load(other)
            except ModelRefused as error:
                self._tell(stream, f"can't do without a gyroscope: {error}")
                continue
            told = f"has no gyroscope: {model.card.name} takes the place of {meant.name}"
            self._tell(stream, told)
            self._spare.add(other)
            return model, self._settings.decision
        return None

    def _spares(self, name: str) -> list[str]:
        """Return the models that may stand in for one where there is no gyroscope, best first."""
        from hard.card import ModelCard, ModelRefused, others_beside  # noqa: PLC0415

        meant = self.load(name).card
        found: list[tuple[bool, str]] = []
        for other in others_beside(name, self._settings.models_folder):
            with contextlib.suppress(ModelRefused):  # not the one that was asked for
                card, _ = ModelCard.load(other)
                if card.placement == meant.placement and not card.input.uses_gyro:
                    found.append((card.input.frame != meant.input.frame, other))
        return [other for _, other in sorted(found)]

    def renewed(self, settings: Settings) -> Models:
        """Return the models of other settings; what has not changed since is not loaded again.

        A model that is new, or whose files changed, first proves itself in a limited process.
        Raises `ModelRefused`.
        """
        from hard.card import ModelCard  # noqa: PLC0415

        after = Models(settings, self._only, self._proofs)
        after._told, after._spare = self._told, self._spare
        for name in dict.fromkeys(after.names()):
            card, path = ModelCard.load(name)
            settings.decision.over(card)
            known = self._loaded.get(name)
            if known is not None and known.card == card and _is_sound(path, card.sha256):
                after._loaded[name] = known
            else:
                after.load(name)
        after._prove_spares()
        for name in self._spare & self._loaded.keys():
            after._loaded.setdefault(name, self._loaded[name])
        return after

    def _tell(self, stream: str, what: str) -> None:
        if (stream, what) not in self._told:
            self._told.add((stream, what))
            logging.getLogger("hard").warning("stream %s %s (said once)", stream, what)


def _is_sound(path: Path, sha256: str) -> bool:
    """Tell whether a file can be read and is what its card says."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
