"""The configuration that a command is meant to use, and the models that it names."""

from __future__ import annotations

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
    from hard.decision import DecisionSettings
    from hard.eventlog import EventLog

__all__ = [
    "PLACES",
    "Models",
    "configuration_path",
    "default_path",
    "event_log",
    "loaded",
    "log_path",
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
            f"no configuration: neither ./{here} nor {system} is there; name one: -c FILE",
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


def _service_state(config: Path) -> Path | None:
    """Return the StateDirectory= of the service that runs with a configuration, None if none."""
    if config.parent != PLACES[-1].parent:
        return None
    instance = "" if config == PLACES[-1] else f"-{config.stem}"
    return Path(f"/var/lib/hard{instance}")


def log_path(config: Path) -> Path:
    """Return the event log of a configuration, whether it is there or not; exit without one."""
    from hard import systemd  # noqa: PLC0415

    own = loaded(config).settings.hard.state_dir
    folder = own or systemd.state_directory() or _service_state(config.absolute())
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

    def __init__(self, settings: Settings, only: str | None = None) -> None:
        """Take the models from `settings`, or `only` this one for all streams."""
        self._settings, self._only = settings, only
        self._loaded: dict[str, TFLiteClassifier] = {}
        self._told: set[str] = set()

    def load(self, name: str) -> TFLiteClassifier:
        """Return the model of this name; raises `ModelRefused`."""
        from hard.classifier import TFLiteClassifier  # noqa: PLC0415

        if name not in self._loaded:
            model = TFLiteClassifier.load(name)
            self._settings.decision.over(model.card)
            self._loaded[name] = model
        return self._loaded[name]

    def load_all(self) -> None:
        """Let every configured model prove itself now."""
        rules = [] if self._only else [r.model for r in self._settings.streams if r.model]
        for name in [self._only or self._settings.model.name, *rules]:
            self.load(name)

    def identities(self) -> list[str]:
        """Return name and hash of the models in use."""
        return sorted({model.card.identity for model in self._loaded.values()})

    def choose(self, stream: str) -> tuple[TFLiteClassifier, DecisionSettings]:
        """Return what the pipeline asks for; say once where the model was trained elsewhere."""
        model = self.load(self._only or self._settings.model_for(stream))
        worn = self._settings.placement_of(stream)
        if worn not in (None, model.card.placement) and stream not in self._told:
            self._told.add(stream)
            logging.getLogger("hard").warning(
                "stream %s is worn %r, the model %s was trained on %r: choose another model for it",
                *(stream, worn, model.card.name, model.card.placement),
            )
        return model, self._settings.decision

    def describe(self, stream: str) -> Description:
        """Return what the stream is called and can say."""
        from hard.api import Description  # noqa: PLC0415
        from hard.daily import RESTING  # noqa: PLC0415
        from hard.decision import OFF_BODY, UNKNOWN  # noqa: PLC0415

        card = self.load(self._only or self._settings.model_for(stream)).card
        rests = {*card.postures, *RESTING, OFF_BODY}
        activities = (*card.states, UNKNOWN, OFF_BODY)
        resting = tuple(activity for activity in activities if activity in rests)
        name = self._settings.name_of(stream)
        return Description(stream, name, card.identity, activities, resting)
