"""The command line: `hard replay`, `run`, `record`, `status`, `check`, `doctor` and the others.

Only wiring: arguments to calls, results to stdout, everything else to stderr, errors to exit
codes (0 clean, 1 failure, 2 bad usage, 78 bad configuration).  Heavy imports stay inside the
commands, so that `hard --help` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hard.api import Event, Source
    from hard.classifier import TFLiteClassifier
    from hard.config import Configuration, Settings
    from hard.decision import DecisionSettings
    from hard.eventlog import EventLog
    from hard.outputs import Plot
    from hard.recording import Recorder
    from hard.replay import Outcome
    from hard.runtime import Runtime

__all__ = ["app", "main"]

BAD_CONFIGURATION = 78  # EX_CONFIG of sysexits.h; the unit does not restart on it
INTERRUPTED = 130

app = typer.Typer(
    name="hard",
    help="Human Activity Recognition Daemon: motion sensors in, trustworthy activity events out.",
    epilog="Start with: hard simulate walk.csv && hard replay walk.csv",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

sources_app = typer.Typer(help="Find sensors.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")

ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", help="Configuration file (TOML).")
]
RateOption = Annotated[
    float | None, typer.Option("--rate", help="Sampling rate of what has no stamps, Hz.")
]
AccelUnitOption = Annotated[str, typer.Option("--accel-unit", help="m/s2 or g.")]
GyroUnitOption = Annotated[str, typer.Option("--gyro-unit", help="rad/s or deg/s.")]
FormatOption = Annotated[
    str, typer.Option("--format", help="auto, or a name as in `hard inspect`: plain, wt901 …")
]
PlatformOption = Annotated[
    str | None,
    typer.Option("--platform", help="ios or android, where the recording does not say."),
]
StartOption = Annotated[
    str | None,
    typer.Option("--start", help="When a recording without dates began (RFC 3339)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line; the entry point of the script `hard`."""
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: object, code: int = 1) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _own_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return version("hard-daemon")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hard {_own_version()}")
        raise typer.Exit


@app.callback()
def options(
    *,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log more.")] = False,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    # The journal keeps time and unit itself; it wants the level in front (sd-daemon(3)).
    journal = "JOURNAL_STREAM" in os.environ
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )
    if journal:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_JournalFormatter())


class _JournalFormatter(logging.Formatter):
    """Put systemd's priority before each message: <3> error, <4> warning, <6> info, <7> debug."""

    def format(self, record: logging.LogRecord) -> str:
        priority = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return f"<{priority}>{super().format(record)}"


def _configuration(path: Path | None, needs: Sequence[str] = ()) -> Configuration:
    from hard import config  # noqa: PLC0415

    try:
        return config.load(path, needs)
    except config.ConfigError as error:
        _fail(error, BAD_CONFIGURATION)


class _Models:
    """Gives every stream its model and decision settings; each model is loaded once."""

    def __init__(self, settings: Settings, only: str | None = None) -> None:
        self._settings, self._only = settings, only
        self._loaded: dict[str, TFLiteClassifier] = {}

    def load(self, name: str) -> TFLiteClassifier:
        """Return the model of this name; raises `ModelRefused`."""
        from hard.classifier import TFLiteClassifier  # noqa: PLC0415

        if name not in self._loaded:
            self._loaded[name] = TFLiteClassifier.load(name)
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
        model = self.load(self._only or self._settings.model_for(stream))
        worn = self._settings.placement_of(stream)
        if worn not in (None, model.card.placement):
            logging.getLogger("hard").warning(
                "stream %s is worn %r, the model %s was trained on %r: choose another model for it",
                *(stream, worn, model.card.name, model.card.placement),
            )
        return model, self._settings.decision


@app.command(
    epilog="\b\nExamples:\n"
    "  hard replay walk.csv\n"
    "  hard replay --model waist --json walk.csv | jq .activity\n"
    "  hard replay --join 0 trial-1.csv trial-2.csv --plot day.png\n"
    "  hard replay walk.csv --rate 50 --accel-unit g --predictions windows.csv"
)
def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings: CSV, or an export of an app.")],
    *,
    model: Annotated[
        str | None, typer.Option(help="Bundled model, or the path of a card; else as configured.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
    predictions: Annotated[
        Path | None, typer.Option(help="Write a CSV row for every window.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw signal, probabilities, timeline.")] = None,
    speed: Annotated[
        str, typer.Option(help='"max", or how many times faster than time: 1, 10 …')
    ] = "max",
    join: Annotated[
        float | None,
        typer.Option(min=0, max=1e7, help="Make the files one recording, so far apart (s)."),
    ] = None,
    publish: Annotated[
        str | None, typer.Option(help="Deliver to this sink of the configuration.")
    ] = None,
    config: ConfigOption = None,
    rate: RateOption = None,
    accel_unit: AccelUnitOption = "m/s2",
    gyro_unit: GyroUnitOption = "rad/s",
    file_format: FormatOption = "auto",
    platform: PlatformOption = None,
    start: StartOption = None,
    strict: Annotated[bool, typer.Option(help="Fail if anything had to be skipped.")] = False,
) -> None:
    """Recognise activities in recordings, by the same code as the daemon."""
    options = {
        "format": file_format,
        "rate_hz": rate,
        "accel_unit": accel_unit,
        "gyro_unit": gyro_unit,
        "platform": platform,
        "start": start,
    }
    from hard.recording import recordings_in  # noqa: PLC0415

    _refuse_overwriting(files, predictions, plot)
    files = recordings_in(files)
    configuration = _configuration(config)
    sources = _file_sources(files, {k: v for k, v in options.items() if v is not None})
    pace = _pace(speed)
    with contextlib.ExitStack() as opened:
        live = (lambda events: _print_events(events, as_json=as_json)) if pace else None
        show = opened.enter_context(_publisher(publish, configuration)) if publish else live
        outcome, drawn = _replayed(
            sources, configuration, model, join, pace, predictions, show, plotted=plot is not None
        )
        if plot is not None:
            try:
                drawn.draw(plot, outcome)
            except OSError as error:
                _fail(f"{plot}: can't be written: {error.strerror}")
    if not outcome.windows:
        _fail(
            f"{files[0]}: no window: {outcome.seconds:.2f} s of data are less than the model "
            "needs without a gap"
        )
    if not (pace and show is live):
        _print_outcome(outcome, as_json=as_json)
    elif not as_json:
        typer.echo()
        _print_outcome(outcome, as_json=False)
    if outcome.faults:
        told = ", ".join(f"{n} {reason}" for reason, n in outcome.faults.items())
        typer.echo(f"skipped: {told}", err=True)
    if strict and outcome.faults:
        raise typer.Exit(1)


def _refuse_overwriting(files: Sequence[Path], *outputs: Path | None) -> None:
    """Exit where an output would take the place of an input or of another output."""
    taken = {path.resolve() for path in files}
    for out in outputs:
        if out is not None and out.resolve() in taken:
            _fail(f"{out}: it is needed for something else in this call; name another file", 2)
        taken |= {out.resolve()} if out is not None else set()


def _pace(speed: str) -> float | None:
    if speed == "max":
        return None
    with contextlib.suppress(ValueError):
        pace = float(speed)
        if 1e-3 <= pace <= 1e6:
            return pace
    raise typer.BadParameter(
        f"{speed!r}: give max, or a factor such as 1 or 10", param_hint="speed"
    )


def _file_sources(files: Sequence[Path], options: dict[str, Any]) -> list[Source[Any]]:
    """Return one `file` source a recording; two of one name get a number behind it."""
    from hard.plugins import PluginError, create  # noqa: PLC0415

    sources: list[Any] = []
    streams: set[str] = set()
    for path in files:
        try:
            source: Any = create(
                "sources", str(path), {"plugin": "file", "path": str(path), **options}, "hard"
            )
            stream = source.config.stream_for(path)
            number = 2
            while stream in streams:
                stream, number = f"{source.config.stream_for(path)[:60]}-{number}", number + 1
            streams.add(stream)
            source.config = source.config.model_copy(update={"stream": stream})
        except PluginError as error:
            faults = "; ".join(
                f"--{key.replace('_hz', '').replace('_', '-')}: {fault}"
                for key, fault in error.faults
            )
            _fail(faults, 2)
        sources.append(source)
    return sources


def _replayed(
    sources: list[Source[Any]],
    configuration: Configuration,
    model: str | None,
    join: float | None,
    pace: float | None,
    predictions: Path | None,
    publish: Callable[[Sequence[Event]], None] | None,
    *,
    plotted: bool,
) -> tuple[Outcome, Plot]:
    """Run the replay with its files and its progress; exit where it is refused."""
    from hard.api import UnusableInput  # noqa: PLC0415
    from hard.card import ModelRefused  # noqa: PLC0415
    from hard.outputs import Plot, PredictionsCsv, written_aside  # noqa: PLC0415
    from hard.replay import replay as run_replay  # noqa: PLC0415

    if plotted:
        _require_matplotlib()
    models, plot, stop = _Models(configuration.settings, model), Plot(), threading.Event()
    several = len(sources) > 1 and join is None
    with contextlib.ExitStack() as opened:
        rows = None
        if predictions is not None:
            try:
                rows = PredictionsCsv(
                    opened.enter_context(written_aside(predictions)), several=several
                )
            except OSError as error:
                _fail(f"{predictions}: can't be written: {error.strerror}")

        def watch(batch: Any) -> None:
            labels = models.choose(batch.stream)[0].card.states
            if rows is not None:
                rows.write(batch, labels)
            if plotted:
                plot.see(batch, labels)

        interrupted = opened.enter_context(_on_interrupt(stop.set))
        progress = opened.enter_context(_progress())
        try:
            models.load_all()
            outcome = run_replay(
                sources,
                models.choose,
                join_s=join,
                speed=pace,
                watch=watch if rows is not None or plotted else None,
                publish=publish,
                progress=progress,
                stop=stop,
                mount=configuration.settings.axes_of,
            )
        except (UnusableInput, ModelRefused) as error:
            _fail(error)
        except OSError as error:
            _fail(f"{predictions}: can't be written: {error.strerror}")
        if interrupted:
            _fail("interrupted", INTERRUPTED)  # and no half-written file is left
    return outcome, plot


def _require_matplotlib() -> None:
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec("matplotlib") is None:
        _fail(f"--plot needs matplotlib: {sys.executable} -m pip install matplotlib")


@contextlib.contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call `stop` on Ctrl-C, SIGTERM or SIGHUP instead of dying; the list says whether it came."""
    came: list[int] = []

    def note(number: int, _: object) -> None:
        came.append(number)
        stop()

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(what: str = "") -> Iterator[Callable[[Any], None] | None]:
    """Show on a terminal how much data is done, or `what` with a word; in a pipe nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status(what or "reading …") as shown:
        if what:
            yield lambda word: shown.update(f"{what} {word}")
        else:
            yield lambda seconds: shown.update(f"{seconds / 60:.1f} min of data done")


@contextlib.contextmanager
def _publisher(
    name: str, configuration: Configuration
) -> Iterator[Callable[[Sequence[Event]], None]]:
    """Deliver a replay's events to one sink, as another node and with nothing retained."""
    from hard.eventlog import EventLog  # noqa: PLC0415
    from hard.plugins import create  # noqa: PLC0415
    from hard.runtime import SinkThread, StateBoard  # noqa: PLC0415

    settings = configuration.settings
    if name not in settings.sinks:
        known = ", ".join(sorted(settings.sinks)) or "none; give a configuration with -c"
        _fail(f"--publish: no sink {name!r} is configured; there are: {known}", 2)
    table = dict(settings.sinks[name])
    if "retain" in configuration.sinks[name].Config.model_fields:
        table["retain"] = False
    sink: Any = create("sinks", name, table, f"{settings.hard.node}-replay")
    logging.getLogger("hard.eventlog").setLevel(logging.ERROR)  # in memory is what is wanted here
    log = EventLog(None)
    thread = SinkThread(sink, log.cursor(name, "oldest"), StateBoard())
    thread.start()
    try:
        yield log.append
    finally:
        log.flush(10.0)
        thread.finish(30.0)
        thread.join(35.0)
        left = thread.cursor.backlog
        log.close()
    if left:
        _fail(f"--publish: {left} events could not be delivered to {name!r}")


def _print_events(events: Sequence[Event], *, as_json: bool) -> None:
    from hard.api import rfc3339  # noqa: PLC0415

    for event in events:
        if as_json:
            typer.echo(json.dumps(event.payload()))
        else:
            what = event.activity or f"{event.previous} -> {event.status}"
            sure = "" if event.confidence is None else f"{event.confidence:.0%}"
            typer.echo(f"{rfc3339(event.t_decided)}  {event.stream}  {event.kind}  {what}  {sure}")


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    from hard.replay import bouts, summary, timeline  # noqa: PLC0415

    if as_json:
        _print_events(outcome.events, as_json=True)
    elif bouts(outcome.events):
        typer.echo(f"{timeline(outcome)}\n\n{summary(outcome)}")


@app.command(
    epilog="\b\nExamples:\n"
    "  hard inspect walk.csv\n"
    "  hard inspect export.zip --json\n"
    "  hard inspect dump.bin --rate 50 --plot dump.png"
)
def inspect(
    file: Annotated[Path, typer.Argument(help="A recording: any that `hard replay` takes.")],
    *,
    as_json: JsonOption = False,
    plot: Annotated[Path | None, typer.Option(help="Draw each sensor's norm.")] = None,
    rate: RateOption = None,
    accel_unit: AccelUnitOption = "m/s2",
    gyro_unit: GyroUnitOption = "rad/s",
    file_format: FormatOption = "auto",
    platform: PlatformOption = None,
    start: StartOption = None,
) -> None:
    """Tell what is in a recording, and what fits or contradicts."""
    from hard.api import UnusableInput  # noqa: PLC0415
    from hard.card import ModelCard, bundled  # noqa: PLC0415
    from hard.inspection import Inspector, described, figure  # noqa: PLC0415
    from hard.outputs import written_aside  # noqa: PLC0415

    options = {
        "format": file_format,
        "rate_hz": rate,
        "accel_unit": accel_unit,
        "gyro_unit": gyro_unit,
        "platform": platform,
        "start": start,
    }
    _refuse_overwriting([file], plot)
    if plot is not None:
        _require_matplotlib()
    (source,) = _file_sources([file], {k: v for k, v in options.items() if v is not None})
    inspector = Inspector({name: ModelCard.load(name)[0].input for name in bundled()})
    stop = threading.Event()
    try:
        with _on_interrupt(stop.set) as interrupted:
            opened = [stage.detail for stage in source.probe(5.0) if stage.ok]
            source.run(inspector.feed, stop)
    except UnusableInput as error:
        _fail(error)
    if interrupted:
        _fail("interrupted", INTERRUPTED)
    found = inspector.finish()
    if plot is not None:
        try:
            with written_aside(plot, "wb") as png:
                figure(found).savefig(png, format="png", dpi=100)
        except OSError as error:
            _fail(f"{plot}: can't be written: {error.strerror}")
    if as_json:
        body = {"file": str(file), "opened": opened, "skipped": dict(source.counts)}
        typer.echo(json.dumps(body | found.to_json()))
        return
    typer.echo("\n".join([str(file), *(f"  {line}" for line in opened), "", described(found)]))
    for reason, n in source.counts.items():
        typer.echo(f"skipped   {n} {reason}")
    mended = " ".join(f"--{key.replace('_', '-')} {v}" for key, v in found.options.items())
    if mended:
        typer.echo(f"\ntry: hard replay {file} {mended}")


@app.command(epilog="\b\nExamples:\n  hard run -c hard.toml\n  hard run -c hard.toml --stdout")
def run(
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file (TOML).")],
    *,
    stdout: Annotated[bool, typer.Option(help="Print events too, as JSON lines.")] = False,
) -> None:
    """Run the daemon until SIGTERM."""
    starting: list[Runtime] = []

    def stop() -> None:
        for runtime in starting:
            runtime.stop()

    with _on_interrupt(stop) as asked:
        raise typer.Exit(_run_daemon(config, starting, asked, stdout=stdout))


def _run_daemon(
    config: Path, starting: list[Runtime], asked: Sequence[int], *, stdout: bool
) -> int:
    """Put the daemon together and run it; `starting` is told of it, `asked` of an early stop."""
    from hard import control, systemd  # noqa: PLC0415
    from hard.card import ModelRefused  # noqa: PLC0415
    from hard.checkpoint import load_references, save_references  # noqa: PLC0415
    from hard.pipeline import Pipeline  # noqa: PLC0415
    from hard.plugins import create  # noqa: PLC0415
    from hard.runtime import Runtime, RuntimeOptions  # noqa: PLC0415

    if logging.getLogger().level == logging.WARNING:
        logging.getLogger().setLevel(logging.INFO)  # a service tells what it does
    configuration = _configuration(config, ["sources"] if stdout else ["sources", "sinks"])
    settings = configuration.settings
    sinks: dict[str, Any] = dict(configuration.sinks)
    if stdout:
        sinks["--stdout"] = create("sinks", "--stdout", {"plugin": "stdout"}, settings.hard.node)
    models = _Models(settings)
    try:
        models.load_all()  # before READY
    except ModelRefused as error:
        _fail(error, BAD_CONFIGURATION)
    if asked:
        return 0
    folder = settings.hard.state_dir or systemd.state_directory()
    recorder = _recorder(config, settings, folder)
    log = _event_log(folder)
    upright = None if folder is None else folder / "upright.json"
    pipeline = Pipeline(
        models.choose,
        max_streams=settings.hard.max_streams,
        references={} if upright is None else load_references(upright),
        mount=settings.axes_of,
    )

    def keep() -> None:
        if upright is not None and (known := pipeline.references()):
            save_references(upright, known)

    runtime = Runtime(
        pipeline,
        configuration.sources,
        sinks,
        log,
        RuntimeOptions(
            no_data_after_s=settings.decision.no_data_after_s,
            shutdown_s=settings.hard.shutdown_s,
            inbox_messages=settings.hard.inbox_messages,
        ),
        recorder,
        keep,
    )
    starting.append(runtime)
    if asked:
        runtime.stop()
    about = {"version": _own_version(), "node": settings.hard.node, "models": models.identities()}
    try:
        with control.serving(control.socket_path(folder, config), runtime, config, about):
            return runtime.run()
    except control.ControlError as error:
        log.close()
        _fail(error)


def _event_log(state_folder: Path | None) -> EventLog:
    from hard.eventlog import EventLog, EventLogError  # noqa: PLC0415

    try:
        if state_folder is not None:
            state_folder.mkdir(parents=True, exist_ok=True)
        return EventLog(None if state_folder is None else state_folder / "events.db")
    except (EventLogError, OSError) as error:
        _fail(error)


def _recorder(config: Path, settings: Settings, state_folder: Path | None) -> Recorder | None:
    """Return the recorder that `[record]` asks for."""
    from hard.recording import Recorder  # noqa: PLC0415

    if settings.record is None:
        return None
    folder = settings.record.folder or (state_folder and state_folder / "recordings")
    if folder is None:
        _fail(f"{config}: record.folder: missing: name a folder", BAD_CONFIGURATION)
    return Recorder(folder, settings.record.limits(), settings.about)


@app.command(
    epilog="\b\nExamples:\n"
    "  hard record -c hard.toml\n"
    "  hard record -c hard.toml --stream 'phone-*' --out walks --duration 600\n"
    "On a terminal, type a label and Enter; an empty line ends it."
)
def record(
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file (TOML).")],
    *,
    stream: Annotated[
        list[str] | None, typer.Option(help="Streams to record (glob); repeat the option.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the session; else as configured.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds.")
    ] = None,
) -> None:
    """Record what the configured sources send, raw, until Ctrl-C; nothing is recognised."""
    from hard import recording  # noqa: PLC0415
    from hard.config import Record  # noqa: PLC0415
    from hard.eventlog import EventLog  # noqa: PLC0415
    from hard.plugins import create  # noqa: PLC0415
    from hard.runtime import Runtime, RuntimeOptions  # noqa: PLC0415

    settings = _configuration(config, ["sources"]).settings
    table = settings.record or Record()
    if stream:
        table = table.model_copy(update={"streams": stream})
    state = settings.hard.state_dir
    folder = out or table.folder or (state / "recordings" if state else Path("recordings"))
    node = f"{settings.hard.node}-record"  # a client id of its own beside the daemon's
    sources: dict[str, Any] = {
        name: create("sources", name, options, node) for name, options in settings.sources.items()
    }
    recorder = recording.Recorder(folder, table.limits(), settings.about)
    logging.getLogger("hard.eventlog").setLevel(logging.ERROR)  # there are no events
    runtime = Runtime(
        recording.Unrecognised(),
        sources,
        {},
        EventLog(None),
        RuntimeOptions(
            no_data_after_s=settings.decision.no_data_after_s,
            inbox_messages=settings.hard.inbox_messages,
        ),
        recorder,
    )
    if duration is not None:
        timer = threading.Timer(duration, runtime.stop)
        timer.daemon = True
        timer.start()
    if sys.stdin.isatty():
        threading.Thread(target=_keyboard, args=(runtime,), name="keyboard", daemon=True).start()
    code = runtime.run()
    written = recorder.status()
    typer.echo(f"{written['session'] or 'nothing arrived'}: {written['bytes']} bytes", err=True)
    raise typer.Exit(code if written["session"] else 1)


def _keyboard(runtime: Runtime) -> None:
    """Make each line typed a label of all streams from now on."""
    typer.echo("type a label and Enter; an empty line ends it", err=True)
    for line in sys.stdin:
        streams = runtime.label_all(time.time_ns(), line.strip())
        typer.echo(f"labelled {streams} streams" if streams else "nothing arrived yet", err=True)


def _asked(config: Path, command: str, **arguments: str) -> dict[str, Any]:
    """Ask the daemon of this configuration; exit where it can't or won't."""
    from hard import control  # noqa: PLC0415

    folder = _configuration(config).settings.hard.state_dir
    try:
        return control.ask(control.places(folder, config), config, command, arguments)
    except control.ControlError as error:
        _fail(error)


@app.command(epilog="\b\nExamples:\n  hard status -c hard.toml\n  hard status -c hard.toml --json")
def status(
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file (TOML).")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Tell what the running daemon hears, decides and delivers."""
    from hard.control import status_text  # noqa: PLC0415

    answer = _asked(config, "status")
    del answer["ok"]
    typer.echo(json.dumps(answer) if as_json else status_text(answer))


@app.command(epilog="\b\nExamples:\n  hard label -c hard.toml phone-1 cycling")
def label(
    stream: Annotated[str, typer.Argument(help="A stream that is recorded.")],
    text: Annotated[str, typer.Argument(help='The label from now on; "" ends the one before.')],
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file (TOML).")],
) -> None:
    """Label what is being recorded of a stream, from now on."""
    _asked(config, "label", stream=stream, text=text)
    typer.echo(f"{stream} is {text!r} from now on" if text else f"{stream}: the label ends here")


@app.command(epilog="\b\nExamples:\n  hard calibrate -c hard.toml phone-1")
def calibrate(
    stream: Annotated[str, typer.Argument(help="A stream that the daemon hears.")],
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file (TOML).")],
) -> None:
    """Tell the daemon that the wearer stands still and upright now."""
    _asked(config, "calibrate", stream=stream)
    typer.echo(f"{stream}: stand still and upright for 3 s, within a minute")


@app.command(
    epilog="\b\nExamples:\n"
    "  hard simulate day.csv\n"
    "  hard simulate walk.csv --script walking:60 --script sitting:30 --seed 7"
)
def simulate(
    out: Annotated[Path, typer.Argument(help="The CSV to write.")],
    *,
    script: Annotated[
        list[str] | None, typer.Option(help="activity:seconds, in order; repeat the option.")
    ] = None,
    placement: Annotated[str, typer.Option(help="pocket or waist.")] = "pocket",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another wearer.")] = 0,
    rate: Annotated[float, typer.Option(help="Sampling rate, Hz.")] = 50.0,
    start: Annotated[str, typer.Option(help="First stamp (RFC 3339).")] = "2024-01-01T00:00:00Z",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a SYNTHETIC recording with its labels, as plain CSV."""
    from hard.outputs import PlainCsv, written_aside  # noqa: PLC0415
    from hard.plugins import PluginError, create  # noqa: PLC0415

    if out.exists() and not force:
        _fail(f"{out}: there is a file of this name; give another, or --force to replace it")
    table = {
        "plugin": "simulator",
        "script": script or [],
        "placement": placement,
        "seed": seed,
        "rate_hz": rate,
        "start": start,
        "realtime": False,
    }
    stop = threading.Event()
    try:
        source: Any = create("sources", "simulate", table, "hard")
        with (
            _on_interrupt(stop.set) as interrupted,
            _progress() as progress,
            written_aside(out) as file,
        ):
            rows = PlainCsv(file)

            def write(message: Any) -> None:
                rows.write(message)
                if progress is not None:
                    progress(rows.rows / rate)

            source.run(write, stop)
    except PluginError as error:
        _fail("; ".join(f"{key}: {fault}" if key else fault for key, fault in error.faults), 2)
    except OSError as error:
        _fail(f"{out}: can't be written: {error.strerror}")
    typer.echo(f"{out}: {rows.rows} synthetic rows, {rows.rows / rate:.0f} s", err=True)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


@app.command(epilog="\b\nExamples:\n  hard check -c hard.toml\n  hard check -c hard.toml --json")
def check(
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file (TOML).")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration: print every error, or what is in force."""
    effective = _configuration(config, ["sources", "sinks"]).effective()
    if as_json:
        typer.echo(json.dumps(effective))
        return
    for key, value in effective.items():
        typer.echo(f"{key} = {'(none)' if value is None else json.dumps(value)}")


@app.command(epilog="\b\nExamples:\n  hard plugins\n  hard plugins --json")
def plugins(*, as_json: JsonOption = False) -> None:
    """List the installed plugins, and why one can't be used."""
    from dataclasses import asdict  # noqa: PLC0415

    from hard.plugins import available  # noqa: PLC0415

    found = [*available("sources"), *available("sinks")]
    for plugin in found:
        if as_json:
            typer.echo(json.dumps(asdict(plugin)))
        else:
            kind = plugin.group.removesuffix("s")
            typer.echo(f"{kind:7} {plugin.name:12} {plugin.state:7} {plugin.detail}")
    if any(plugin.state != "ok" for plugin in found):
        raise typer.Exit(1)


@sources_app.command(
    epilog="\b\nExamples:\n  hard sources scan\n  hard sources scan --seconds 10 --json"
)
def scan(
    *,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="How long each plugin may look (s).")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Look for sensors that the installed sources could read."""
    from dataclasses import asdict  # noqa: PLC0415

    from hard.doctor import scan_sources, settings_toml  # noqa: PLC0415

    found = 0
    with _progress("looking …") as progress:
        for plugin, thing in scan_sources(seconds, progress or (lambda _: None)):
            found += 1
            if as_json:
                typer.echo(json.dumps({"plugin": plugin, **asdict(thing)}))
            else:
                typer.echo(f"{plugin}: {thing.address}: {thing.detail}")
                typer.echo(settings_toml(plugin, thing.settings))
    if not found and not as_json:
        typer.echo("nothing found: is it switched on, plugged in, on this network?", err=True)


@app.command(epilog="\b\nExamples:\n  hard doctor -c hard.toml\n  hard doctor --json")
def doctor(
    *,
    config: ConfigOption = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="How long each plugin may take (s).")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, models, state, clock, and each source and sink, stage by stage."""
    from dataclasses import asdict  # noqa: PLC0415

    from hard.doctor import examine  # noqa: PLC0415

    failed = False
    for part, stage in examine(config, seconds):
        failed = failed or stage.ok is False
        if as_json:
            typer.echo(json.dumps({"part": part, **asdict(stage)}))
        else:
            mark = {True: "ok", False: "FAIL", None: "?"}[stage.ok]
            typer.echo(f"{mark:4}  {part}: {stage.name}: {stage.detail}")
            if stage.remedy and not stage.ok:
                typer.echo(f"      -> {stage.remedy}")
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="\b\nExamples:\n  hard bench\n  hard bench --hours 10\n  hard bench day.csv --json"
)
def bench(
    file: Annotated[Path | None, typer.Argument(help="A recording; else one is simulated.")] = None,
    *,
    hours: Annotated[float, typer.Option(min=0.01, max=100, help="Length to simulate.")] = 1.0,
    model: Annotated[str, typer.Option(help="Bundled model, or the path of a card.")] = "pocket",
    live: Annotated[
        float, typer.Option(min=0, help="Also run the daemon on a 50 Hz stream so long (s).")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Measure the pipe against the bare interpreter loop, in the same run."""
    from hard.api import UnusableInput  # noqa: PLC0415
    from hard.bench import measure  # noqa: PLC0415
    from hard.card import ModelRefused  # noqa: PLC0415

    try:
        figures = measure(file, hours=hours, model=model, live_s=live)
    except (UnusableInput, ModelRefused) as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        typer.echo(f"{name:42} {value:>12}")
