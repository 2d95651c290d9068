"""`hard run` and `hard record`: the configured sources, with the pipeline and without it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import Models, configuration_path, event_log, loaded
from hard.commands.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import BAD_CONFIGURATION, fail, has_terminal, on_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from hard.api import Sink, Source
    from hard.commands.reloading import Reloader
    from hard.config import Metrics, Settings
    from hard.eventlog import EventLog
    from hard.recording import Recorder
    from hard.runtime import Runtime, RuntimeOptions
    from hard.summaries import SummaryBoard

__all__ = ["app"]

app = typer.Typer()

_TELL_EVERY_S = 10.0
_TELL_SELDOM_S = 60.0
_MOST_STREAMS = 1000
_EVENTS_OF_DAYS = 20_000
"""So many of the newest events are read to know what today consists of."""


# -- run -----------------------------------------------------------------------------------------


@app.command(
    epilog="\b\nExamples:\n"
    "  hard run\n"
    "  hard run -c hard.toml --stdout\n"
    "  hard run -v -c /etc/hard/hard.toml"
)
def run(
    config: ConfigOption = None,
    *,
    stdout: Annotated[bool, typer.Option(help="Print events too, as JSON lines.")] = False,
) -> None:
    """Run the daemon until SIGTERM."""
    starting: list[Runtime] = []

    def stop() -> None:
        for runtime in starting:
            runtime.stop()

    # Before it runs there is nothing to reload: the configuration is being read.
    with on_interrupt(stop, hangup=has_terminal()) as asked:
        code = _run_daemon(configuration_path(config), starting, asked, stdout=stdout)
    if any(runtime.leaves_threads for runtime in starting):
        # To take the interpreter down around threads that run takes long, and may hang itself.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def _run_daemon(
    config: Path, starting: list[Runtime], asked: Sequence[int], *, stdout: bool
) -> int:
    """Put the daemon together and run it; `starting` is told of it, `asked` of an early stop."""
    from importlib.metadata import version  # noqa: PLC0415

    from hard import control, systemd  # noqa: PLC0415
    from hard.card import ModelRefused  # noqa: PLC0415
    from hard.commands.reloading import Reloader  # noqa: PLC0415
    from hard.config import ConfigError  # noqa: PLC0415
    from hard.plugins import create  # noqa: PLC0415
    from hard.proofs import Proofs  # noqa: PLC0415

    if logging.getLogger().level == logging.WARNING:
        logging.getLogger().setLevel(logging.INFO)  # a service tells what it does
    needs = ["sources"] if stdout else ["sources", "sinks"]
    configuration = loaded(config, needs)
    settings = configuration.settings
    sinks: dict[str, Any] = dict(configuration.sinks)
    if stdout:
        sinks["--stdout"] = create("sinks", "--stdout", {"plugin": "stdout"}, settings.hard.node)
    folder = settings.hard.state_dir or systemd.state_directory()
    models = Models(settings, proofs=Proofs(folder))
    try:
        token = None if settings.metrics is None else settings.metrics.token()
        models.load_all()  # before READY
    except (ConfigError, ModelRefused) as error:
        fail(error, BAD_CONFIGURATION)
    if asked:
        return 0
    reloader = Reloader(config, configuration, models, needs, _options)
    recorder = _recorder(config, settings, folder, reloader.about_stream)
    log = event_log(settings, folder)
    runtime = _runtime(reloader, configuration.sources, sinks, log, recorder, folder)
    starting.append(runtime)
    if asked:
        runtime.stop()
    reloader.about |= {"version": version("hard-daemon"), "node": settings.hard.node}
    try:
        path = control.socket_path(folder, config)
        with (
            _monitored(settings.metrics, token, runtime),
            control.serving(path, runtime, config, reloader.about),
        ):
            return runtime.run()
    except control.ControlError as error:
        log.close()
        fail(error)


@contextlib.contextmanager
def _monitored(table: Metrics | None, token: str | None, runtime: Runtime) -> Iterator[None]:
    """Serve `[metrics]` while the block runs; a port that can't be had costs nothing else."""
    if table is None:
        yield
        return
    from hard import monitoring  # noqa: PLC0415 - heavy, and most do without

    try:
        listener = monitoring.listening(table.host, table.port)
    except monitoring.MonitoringError as error:
        logging.getLogger("hard").warning("%s; going on without", error)
        yield
        return
    with monitoring.serving(listener, runtime, token, table.max_streams, host=table.host):
        yield


def _runtime(
    reloader: Reloader,
    sources: Mapping[str, Source[Any]],
    sinks: Mapping[str, Sink[Any]],
    log: EventLog,
    recorder: Recorder | None,
    state_folder: Path | None,
) -> Runtime:
    """Return the daemon's threads around its pipeline, which knows again what it knew."""
    from hard.api import Evicted  # noqa: PLC0415
    from hard.checkpoint import adopt_references, recall  # noqa: PLC0415
    from hard.debugging import WindowBoard  # noqa: PLC0415
    from hard.metrics import Work  # noqa: PLC0415
    from hard.pipeline import Pipeline  # noqa: PLC0415
    from hard.runtime import Runtime  # noqa: PLC0415

    settings, models, windows = reloader.settings, reloader.models, WindowBoard()

    def evicting(stream: str) -> None:
        if recorder is not None:
            recorder.take([Evicted(stream)])

    pipeline = Pipeline(
        models.choose,
        explain=windows.put,
        evicting=evicting,
        max_streams=settings.hard.max_streams,
        mount=settings.axes_of,
        work=Work(time.perf_counter),
        without_gyro=models.without_gyro,
    )
    if state_folder is not None:
        adopt_references(state_folder / "upright.json", log)
    recall(log, pipeline)

    runtime = Runtime(
        pipeline,
        sources,
        sinks,
        log,
        _options(settings),
        recorder,
        _summaries(reloader.zone_of, log),
        reloader.describe,
        reload=lambda: reloader.reload(pipeline),
        windows=windows,
    )
    for stream, until_ns in pipeline.paused().items():
        runtime.stay_paused(stream, until_ns)
    reloader.runtime = runtime
    return runtime


def _options(settings: Settings) -> RuntimeOptions:
    from hard.runtime import RuntimeOptions  # noqa: PLC0415

    return RuntimeOptions(
        no_data_after_s=settings.decision.no_data_after_s,
        shutdown_s=settings.hard.shutdown_s,
        inbox_messages=settings.hard.inbox_messages,
        hangup_reloads=not has_terminal(),
    )


def _summaries(zone_of: Callable[[str], tzinfo], log: EventLog) -> SummaryBoard:
    """Return the days of all streams, with what the log tells of the last ones."""
    from hard.api import NS_PER_S  # noqa: PLC0415
    from hard.eventlog import EventLogError  # noqa: PLC0415
    from hard.summaries import SummaryBoard  # noqa: PLC0415

    board = SummaryBoard(zone_of)
    oldest_ns = time.time_ns() - 2 * 86_400 * NS_PER_S
    told_ns: dict[str, int] = {}
    try:
        known = log.read(max(0, log.newest - _EVENTS_OF_DAYS), _EVENTS_OF_DAYS)
    except EventLogError as error:
        logging.getLogger("hard").warning("today's summaries begin anew: %s", error)
        known = []
    for event in known:
        if event.t_decided >= oldest_ns:
            board.take(event)
            told_ns[event.stream] = event.t_decided
    for stream, t_ns in told_ns.items():
        board.reach(stream, t_ns)
    return board


def _recorder(
    config: Path,
    settings: Settings,
    state_folder: Path | None,
    about: Callable[[str], Mapping[str, Any]],
) -> Recorder | None:
    """Return the recorder that `[record]` asks for."""
    from hard.recording import Recorder  # noqa: PLC0415

    if settings.record is None:
        return None
    folder = settings.record.folder or (state_folder and state_folder / "recordings")
    if folder is None:
        fail(f"{config}: record.folder: missing: name a folder", BAD_CONFIGURATION)
    return Recorder(folder, settings.record.limits(), about)


# -- record --------------------------------------------------------------------------------------


@app.command(
    epilog="\b\nExamples:\n"
    "  hard record\n"
    "  hard record -c hard.toml --stream 'phone-*' --out walks --duration 600\n"
    "On a terminal, type a label and Enter; an empty line ends it.\n"
    "Then: hard inspect SESSION, hard replay SESSION."
)
def record(
    config: ConfigOption = None,
    *,
    stream: Annotated[
        list[str] | None, typer.Option(help="Streams to record (glob); repeat the option.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The session gets a folder of its own in this one; else in that of [record], else "
            "in `recordings` in state_dir, or here without one."
        ),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds.")
    ] = None,
) -> None:
    """Record what the sources send, raw, until Ctrl-C.  Nothing is recognised."""
    from hard import recording  # noqa: PLC0415
    from hard.config import Record  # noqa: PLC0415

    config = configuration_path(config)
    settings = loaded(config, ["sources"]).settings
    table = settings.record or Record()
    if stream:
        table = table.model_copy(update={"streams": stream})
    state = settings.hard.state_dir
    folder = out or table.folder or (state / "recordings" if state else Path("recordings"))
    recorder = recording.Recorder(folder, table.limits(), settings.about)
    runtime = _unrecognising(settings, recorder)
    if duration is not None:
        timer = threading.Timer(duration, runtime.stop)
        timer.daemon = True
        timer.start()
    if sys.stderr.isatty() or duration is None:  # else it says in time what it did
        typer.echo(f"recording into a new folder in {folder}; Ctrl-C stops", err=True)
        told = (runtime, recorder, f"hard doctor -c {config}")
        threading.Thread(target=_tell, args=told, name="teller", daemon=True).start()
    if sys.stdin.isatty():
        threading.Thread(target=_keyboard, args=(runtime,), name="keyboard", daemon=True).start()
    code = runtime.run()
    written = recorder.status()
    if not written["session"]:
        fail(
            f"nothing arrived, so nothing was written: hard doctor -c {config} looks for the cause"
        )
    counted = _samples(runtime, recorder) or "no samples"
    typer.echo(f"{written['session']}: {written['bytes']} bytes: {counted}", err=True)
    if sys.stderr.isatty():
        typer.echo(f"what is in it: hard inspect {written['session']}", err=True)
    raise typer.Exit(code)


def _unrecognising(settings: Settings, recorder: Recorder) -> Runtime:
    """Return a runtime that records and decides nothing."""
    from hard.checkpoint import known_in  # noqa: PLC0415
    from hard.eventlog import EventLog  # noqa: PLC0415
    from hard.plugins import create  # noqa: PLC0415
    from hard.recording import Unrecognised  # noqa: PLC0415
    from hard.runtime import Runtime, RuntimeOptions  # noqa: PLC0415

    node = f"{settings.hard.node}-record"  # a client id of its own beside the daemon's
    sources: dict[str, Source[Any]] = {}
    for name, table in settings.sources.items():
        source: Any = create("sources", name, table, node)
        sources[name] = source
    logging.getLogger("hard.eventlog").setLevel(logging.ERROR)  # there are no events
    options = RuntimeOptions(
        no_data_after_s=settings.decision.no_data_after_s,
        inbox_messages=settings.hard.inbox_messages,
    )
    state = settings.hard.state_dir
    unrecognised = Unrecognised({} if state is None else known_in(state / "events.db"))
    return Runtime(unrecognised, sources, {}, EventLog(None), options, recorder)


def _tell(runtime: Runtime, recorder: Recorder, where_to_look: str) -> None:
    """Say which streams come, and how much of each there is: every 10 s at a terminal, else 60."""
    known: set[str] = set()
    every_s = _TELL_EVERY_S if sys.stderr.isatty() else _TELL_SELDOM_S
    began_s = said_s = time.monotonic()
    while True:
        time.sleep(1.0)
        now_s = time.monotonic()
        streams = _recorded(runtime, recorder)
        for name in streams.keys() - known:
            typer.echo(f"{name} arrives: {', '.join(streams[name])}", err=True)
        known |= streams.keys()
        if now_s >= said_s + every_s:
            said_s = now_s
            said = _samples(runtime, recorder) or f"nothing arrived yet; try {where_to_look}"
            typer.echo(f"{now_s - began_s:.0f} s: {said}", err=True)


def _recorded(runtime: Runtime, recorder: Recorder) -> dict[str, dict[str, int]]:
    """Return stream -> sensor -> samples of what is recorded."""
    streams = runtime.status(_MOST_STREAMS)["streams"]
    return {s["stream"]: s["samples"] for s in streams if recorder.wants(s["stream"])}


def _samples(runtime: Runtime, recorder: Recorder) -> str:
    """Return how many samples of which streams were recorded, as a text."""
    return "; ".join(
        f"{stream} {', '.join(f'{n} {sensor}' for sensor, n in samples.items())}"
        for stream, samples in sorted(_recorded(runtime, recorder).items())
    )


def _keyboard(runtime: Runtime) -> None:
    """Make each line typed a label of all streams from now on."""
    typer.echo("type a label and Enter; an empty line ends it", err=True)
    for line in sys.stdin:
        streams = runtime.label_all(time.time_ns(), line.strip())
        several = "" if streams == 1 else "s"
        told = f"labelled {streams} stream{several}" if streams else "nothing arrived yet"
        typer.echo(told, err=True)
