"""`hard reload`, `systemctl reload`, SIGHUP: apply what changed, while the rest runs on.

All or nothing: the new configuration is read and checked whole, and its models prove themselves,
before anything changes; one fault, and the old one runs on.  Then

    [decision], [model], [[streams]]   streams for which they mean a change close their bouts
                                       (`changed`) and begin anew, in their turn in the inbox
    [sources.NAME], [sinks.NAME]       those added, removed, changed or given up are started or
                                       stopped; a sink goes on where its cursor is
    bounds of [hard]                   hold from now on
    everything else                    needs a restart, and is told

Runs in the thread of the daemon's commands (`hard.commanding`), beside everything else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from hard.card import ModelRefused
from hard.config import ConfigError, load
from hard.inbox import Reconfiguration, Refusal
from hard.plugins import create

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import tzinfo
    from pathlib import Path

    from hard.api import Description
    from hard.commands.configured import Models
    from hard.config import Configuration, Settings
    from hard.pipeline import Pipeline
    from hard.runtime import Runtime, RuntimeOptions

__all__ = ["Reloader"]

_LIVE = {"model", "decision", "streams", "sources", "sinks"}
_BOUNDS = {"max_streams", "inbox_messages", "shutdown_s"}

_log = logging.getLogger("hard")


class Reloader:
    """What is in force, and what puts another configuration in its place.

    `needs` are the tables that a daemon can't be without (`hard.config.load`); `options` gives the
    runtime's bounds; `runtime` is set before the first `reload`.
    """

    runtime: Runtime

    def __init__(
        self,
        path: Path,
        configuration: Configuration,
        models: Models,
        needs: Collection[str],
        options: Callable[[Settings], RuntimeOptions],
    ) -> None:
        self.settings, self.models = configuration.settings, models
        self.about: dict[str, Any] = {"models": models.identities()}
        self._path, self._needs, self._options = path, needs, options
        self._configs = {
            ("sources", name): (type(source), source.config)
            for name, source in configuration.sources.items()
        } | {
            ("sinks", name): (type(sink), sink.config) for name, sink in configuration.sinks.items()
        }

    def about_stream(self, stream: str) -> dict[str, Any]:
        """Return what a recording that begins now says of a stream."""
        return self.settings.about(stream)

    def describe(self, stream: str, model: str) -> Description:
        """Return what a stream is called and can say now, with this model (name and hash)."""
        return self.models.describe(stream, model)

    def zone_of(self, stream: str) -> tzinfo:
        """Return the time zone of the days of a stream that begins now."""
        return self.settings.zone_of(stream)

    def reload(self, pipeline: Pipeline) -> dict[str, Any]:
        """Apply what changed; return `changed` and `needs_restart`, sentences.

        Raises `Refusal` where the new configuration can't be used: then nothing has changed.
        """
        try:
            read = load(self._path, self._needs)
            models = self.models.renewed(read.settings)
        except ConfigError as error:
            raise Refusal("bad_configuration", str(error)) from error
        except ModelRefused as error:
            raise Refusal("model_rejected", str(error)) from error
        lasting = self._lasting(read.settings)
        settings = self._kept(read.settings)
        sources, sinks = self._exchanged("sources", read), self._exchanged("sinks", read)
        changed = self._reconfigured(settings, models, pipeline)
        hanging = self.runtime.exchange(sources, sinks)
        for group, instances in (("source", sources), ("sink", sinks)):
            changed += [self._told(group, name, new) for name, new in instances.items()]
        added = {name for name in ("record", "metrics") if getattr(self.settings, name) is None}
        needs = [
            f"{key}: is not on until a restart"
            if key in added
            else f"{key}: needs a restart, the old value holds"
            for key in lasting
        ] + hanging
        for line in changed or ["nothing has changed"]:
            _log.info("reload: %s", line)
        for line in needs:
            _log.warning("reload: %s", line)
        return {"changed": changed, "needs_restart": needs}

    def _lasting(self, new: Settings) -> list[str]:
        """Return the keys that changed and can't change while the daemon runs."""
        before, after = self.settings.model_dump(), new.model_dump()
        keys = [key for key in after if key not in {*_LIVE, "hard"} and before[key] != after[key]]
        if [rule["timezone"] for rule in before["streams"]] != [
            rule["timezone"] for rule in after["streams"]
        ]:
            keys.append("streams.timezone (of streams that are known)")
        own = set(after["hard"]) - _BOUNDS
        return [f"hard.{k}" for k in sorted(own) if before["hard"][k] != after["hard"][k]] + keys

    def _kept(self, new: Settings) -> Settings:
        """Return the new settings with the old values of what can't change."""
        bounds = {key: getattr(new.hard, key) for key in _BOUNDS}
        update = {key: getattr(new, key) for key in _LIVE}
        update["hard"] = self.settings.hard.model_copy(update=bounds)
        return self.settings.model_copy(update=update)

    def _exchanged(self, group: Literal["sources", "sinks"], read: Configuration) -> dict[str, Any]:
        """Return name -> a new instance of what must be started, None for what must only end."""
        failed = self.runtime.failed()[0 if group == "sources" else 1]
        tables: dict[str, dict[str, Any]] = getattr(read.settings, group)
        gone = {name for of, name in self._configs if of == group} - set(tables)
        exchanged: dict[str, Any] = dict.fromkeys(sorted(gone))
        for name, instance in (read.sources if group == "sources" else read.sinks).items():
            made = (type(instance), instance.config)
            if made != self._configs.get((group, name)) or name in failed:
                exchanged[name] = create(group, name, tables[name], self.settings.hard.node)
        return exchanged

    def _told(self, group: str, name: str, new: Any) -> str:
        """Return a sentence on an instance that was exchanged, and take note of it."""
        key = (f"{group}s", name)
        known = key in self._configs
        if new is None:
            del self._configs[key]
            return f"{group} {name}: removed"
        self._configs[key] = (type(new), new.config)
        return f"{group} {name}: {'restarted' if known else 'added'}"

    def _reconfigured(self, settings: Settings, models: Models, pipeline: Pipeline) -> list[str]:
        """Let the pipeline go by other settings; return a sentence on each stream that began anew.

        Settings and models are in force from the moment at which the pipeline takes them.
        """
        renewed: dict[str, Mapping[str, Any]] = {}

        def apply() -> Mapping[str, Mapping[str, Any]]:
            names = pipeline.reconfigure(
                models.choose, settings.axes_of, models.without_gyro, settings.hard.max_streams
            )
            self.settings, self.models = settings, models
            renewed.update({name: settings.about(name) for name in names})
            return renewed

        self.runtime.reconfigure(self._options(settings), Reconfiguration(apply))
        self.about["models"] = models.identities()
        return [
            f"stream {name}: begins anew with {about['model']}" for name, about in renewed.items()
        ]
