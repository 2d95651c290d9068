"""What `hard doctor` and `hard sources scan` look at, one stage after the other.

It knows no plugin: each says by `probe` what it needs and by `scan` what it finds.  Nothing is
changed by looking.  Called by the command line only.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from hard import control, plugins, systemd
from hard.api import NS_PER_S, PLAUSIBLE_NS, Found, Source, Stage
from hard.card import ModelRefused
from hard.config import ConfigError, Configuration, kept_in, load, unusable_folder
from hard.configfile import toml_value
from hard.wallclock import SYNCHRONISE, synchronised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hard.api import Sink
    from hard.config import Settings

__all__ = ["examine", "probed", "scan_sources", "settings_toml", "socket_fault", "stage_text"]

Finding: TypeAlias = tuple[str, Stage]
"""The part that was looked at, and what was found."""

_log = logging.getLogger(__name__)

_ADVICE = re.compile("[:;] ")
"""Behind the last one a reason says what to do."""
_LOOK_S = 0.2
PATIENCE_S = 5.0
"""A probe may overrun its time by so much before it counts as hanging."""
LONGEST_SOCKET_BYTES = control.MAX_PATH_BYTES - len(".new")  # under that name it is bound first


def examine(config: Path | None, timeout_s: float) -> Iterator[Finding]:
    """Yield what is found, part by part; without a configuration what can be told without one.

    Each plugin has `timeout_s`.  Where a daemon runs with this configuration, its own word on its
    sources and sinks stands for theirs: two clients of one broker or port would disturb it.
    """
    configuration = load(None) if config is None else None
    if config is not None:
        try:
            configuration = load(config, ["sources", "sinks"])
        except ConfigError as error:
            for line in str(error).splitlines():
                yield "configuration", Stage("read", ok=False, detail=line, remedy="correct it")
        else:
            found = f"{len(configuration.sources)} sources, {len(configuration.sinks)} sinks"
            yield "configuration", Stage("read", ok=True, detail=f"{config}: {found}")
    yield from (("clock", stage) for stage in _clock())
    for plugin in (*plugins.available("sources"), *plugins.available("sinks")):
        if plugin.state != "ok":
            what = f"{plugin.group[:-1]} {plugin.name}: {plugin.detail}"
            yield "plugins", Stage("import", ok=False, detail=what, remedy="install it again")
    if configuration is not None:
        yield from _configured(configuration, config, timeout_s)


def _configured(
    configuration: Configuration, config: Path | None, timeout_s: float
) -> Iterator[Finding]:
    settings = configuration.settings
    names = dict.fromkeys(
        [settings.model.name, *(rule.model for rule in settings.streams if rule.model)]
    )
    yield from (("models", _model(name)) for name in names)
    own = settings.hard.state_dir or systemd.state_directory()
    folder = own if config is None else kept_in(own, config)
    yield "state", _state(folder, is_services=own is None)
    if config is not None:
        fault = socket_fault(settings, config)
        if fault is not None:
            remedy = "choose a shorter hard.state_dir"
            yield "state", Stage("control socket", ok=False, detail=fault, remedy=remedy)
        of_daemon = list(_running(settings.hard.state_dir, config)) if fault is None else []
        yield from of_daemon
        if of_daemon:
            return
    instances: list[tuple[str, Source[Any] | Sink[Any]]] = [
        *((f"source {name}", source) for name, source in configuration.sources.items()),
        *((f"sink {name}", sink) for name, sink in configuration.sinks.items()),
    ]
    for part, instance in instances:
        yield from ((part, stage) for stage in probed(instance, timeout_s))


def _model(name: str) -> Stage:
    """Let a model prove itself in another process: hash, operators, golden window."""
    from hard.classifier import prove  # noqa: PLC0415 - heavy

    try:
        identity = prove(name)
    except ModelRefused as error:
        return Stage("golden window", ok=False, detail=str(error), remedy="install the model again")
    return Stage("golden window", ok=True, detail=f"{identity} computes what its card says")


def _state(folder: Path | None, *, is_services: bool) -> Stage:
    """Tell whether the event log can be written; nothing is made for it.

    What `is_services` systemd makes when that first starts, for it and root alone.
    """
    if folder is None:
        return Stage(
            "writable",
            ok=None,
            detail="no state_dir: events are kept in memory only",
            remedy="set hard.state_dir to keep them over a restart",
        )
    log = folder / "events.db"
    if is_services and not os.access(folder, os.W_OK):
        detail = f"{folder} is the service's, once that has started: only root may look"
        return Stage("writable", ok=None, detail=detail)
    fault = unusable_folder(folder)
    if fault is None and log.exists() and not os.access(log, os.W_OK):
        fault = f"this user can't write {log}: chown it, or call hard doctor as the daemon's user"
    if fault is not None:
        return Stage("writable", ok=False, detail=f"{folder}: not usable", remedy=fault)
    return Stage("writable", ok=True, detail=f"{folder} can be written by this user")


def socket_fault(settings: Settings, config: Path) -> str | None:
    """Return why the daemon of a configuration can't have its control socket, if that is plain."""
    folder = settings.hard.state_dir or systemd.state_directory()
    path = None if folder is None else control.socket_path(folder, config)
    if path is None or len(os.fsencode(path)) <= LONGEST_SOCKET_BYTES:
        return None
    return (
        f"too long: the control socket would be {path}, and the path of a unix socket has at most "
        f"{LONGEST_SOCKET_BYTES} bytes"
    )


def _clock() -> Iterator[Stage]:
    now_s = time.time()
    if now_s < PLAUSIBLE_NS / NS_PER_S:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now_s))
        yield Stage("date", ok=False, detail=f"the clock shows {shown}", remedy=SYNCHRONISE)
    told = synchronised()
    # Without a daemon of its own a container or virtual machine may yet have its host's time.
    detail = {
        True: "synchronised",
        False: "it has no battery, and network time has not set it yet",
        None: "nobody here says whether it is right",
    }[told]
    yield Stage("synchronised", ok=told, detail=detail, remedy="" if told else SYNCHRONISE)


def _running(state_folder: Path | None, config: Path) -> Iterator[Finding]:
    """Yield what the daemon says that runs with this configuration; nothing where none runs."""
    try:
        answer = control.ask(control.places(state_folder, config), config, "status")
    except control.NoDaemonError:
        return
    except control.ControlError as error:
        # It is there, so its sources and sinks are left alone.
        yield "daemon", Stage("answers", ok=False, detail=str(error), remedy="try again")
        return
    yield from _of_daemon(answer)


def _of_daemon(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what the running daemon says of its sources and sinks."""
    detail = f"running since {answer['up_s']:.0f} s (pid {answer['pid']})"
    yield "daemon", Stage("answers", ok=True, detail=detail)
    for kind in ("source", "sink"):
        for plugin in answer[f"{kind}s"]:
            name, state, why = plugin["name"], plugin["state"], plugin.get("why")
            counted = [
                f"{key.removeprefix(f'{name}.')} {n}"
                for key, n in answer["counts"].items()
                if key.startswith(f"{name}.")
            ]
            yield (
                f"{kind} {name}",
                Stage(
                    "in use",
                    ok=state in {"running", "ended"} and not why,
                    detail=f"the daemon itself holds it (pid {answer['pid']}) and says: {state}"
                    f"{f', {why}' if why else ''}; "
                    f"it left out and counted: {', '.join(counted) or 'nothing'}",
                    remedy=_remedy(why),
                ),
            )
    heard = control.streams_text(answer)
    ok = bool(answer["streams"]) or None
    yield "streams", Stage("heard", ok=ok, detail=heard, remedy="let a sensor send to a source")
    for stream in answer["streams"]:
        if stream["status"] == "rejected":
            why = stream.get("reason") or "hard status may say why"
            advice = _ADVICE.split(why)[-1]
            stage = Stage("usable", ok=False, detail=f"rejected: {why}", remedy=advice)
            yield f"stream {stream['stream']}", stage


def _remedy(why: str | None) -> str:
    """Return what a plugin itself advises, at the end of why it is away."""
    _, colon, advice = (why or "").rpartition(": ")
    other = "stop the daemon and call hard doctor again for all stages"
    return f"{advice}; or {other}" if colon else f"see its log; {other}"


def stage_text(part: str, stage: Stage) -> list[str]:
    """Return what is shown of a stage: how it went and, unless well, what to do."""
    mark = {True: "ok", False: "FAIL", None: "?"}[stage.ok]
    remedy = [f"      -> {stage.remedy}"] if stage.remedy and not stage.ok else []
    return [f"{mark:4}  {part}: {stage.name}: {stage.detail}", *remedy]


def probed(
    instance: Source[Any] | Sink[Any],
    timeout_s: float,
    is_skipped: Callable[[], bool] | None = None,
) -> Iterator[Stage]:
    """Yield the stages of a probe; one that raises or hangs is a failed stage itself.

    It is left once `is_skipped` says so, which is asked five times a second.
    """
    stages: queue.SimpleQueue[Stage | None] = queue.SimpleQueue()

    def probe() -> None:
        try:
            for stage in instance.probe(timeout_s):
                stages.put(stage)
        except Exception as error:  # noqa: BLE001 - a plugin's bug is a finding here
            stages.put(Stage("probe", ok=False, detail=f"a bug: {error!r}", remedy="report it"))
        stages.put(None)

    threading.Thread(target=probe, name=f"probe-{instance.name}", daemon=True).start()
    end_s = time.monotonic() + timeout_s + PATIENCE_S
    n = 0
    while True:
        left_s = max(0.0, end_s - time.monotonic())
        try:
            stage = stages.get(timeout=min(left_s, _LOOK_S) if is_skipped else left_s)
        except queue.Empty:
            if is_skipped is not None and is_skipped():
                yield Stage("wait", ok=None, detail="skipped", remedy="hard doctor tries again")
                return
            if left_s > _LOOK_S and is_skipped is not None:
                continue
            stage = Stage("probe", ok=False, detail="it hangs", remedy="give it more: --seconds")
            yield stage
            return
        if stage is None:
            break
        n += 1
        yield stage
    if not n:
        yield Stage("probe", ok=None, detail="this plugin has nothing to try")


# -- hard sources scan ---------------------------------------------------------------------------


def scan_sources(
    timeout_s: float, progress: Callable[[str], None], only: str | None = None
) -> Iterator[tuple[str, Found]]:
    """Let each installed source plugin look around, or `only` one; yield (plugin, what it found).

    `progress` hears the name of the plugin that looks.
    """
    for plugin in plugins.available("sources"):
        if plugin.state != "ok" or only not in {None, plugin.name}:
            continue
        cls: Any = plugins.load("sources", plugin.name)
        if not any("scan" in vars(base) for base in cls.__mro__ if base is not Source):
            continue  # there is nothing that it could look for
        progress(plugin.name)
        try:
            for found in cls.scan(timeout_s):
                yield plugin.name, found
        except Exception:  # noqa: BLE001 - a plugin's bug must not keep the others from looking
            _log.exception("%s: a bug while looking", plugin.name)


def settings_toml(plugin: str, settings: Mapping[str, Any]) -> str:
    """Return a source's table for the configuration file.

    >>> print(settings_toml("serial", {"port": "/dev/ttyUSB0", "baud": 9600}))
    [sources.serial]
    plugin = "serial"
    port = "/dev/ttyUSB0"
    baud = 9600
    """
    table = {"plugin": plugin, **settings}
    rows = (f"{key} = {toml_value(value)}" for key, value in table.items())
    return "\n".join([f"[sources.{plugin}]", *rows])
