"""`hard replay` and `hard inspect`: what is in recordings, and what the daemon makes of them."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import Models, loaded
from hard.commands.options import (
    AccelUnitOption,
    FormatOption,
    GyroUnitOption,
    JsonOption,
    PlatformOption,
    RateOption,
    StartOption,
    reading_options,
)
from hard.commands.reading import (
    file_sources,
    recordings_named,
    refuse_overwriting,
    session_metadata,
)
from hard.commands.terminal import (
    BAD_USAGE,
    INTERRUPTED,
    fail,
    on_interrupt,
    progress,
    require_matplotlib,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hard.api import DaySummary, Event, Renew, Source
    from hard.classifier import TFLiteClassifier
    from hard.config import Configuration
    from hard.decision import DecisionSettings, Explained
    from hard.explaining import Stretch
    from hard.inspection import Inspection
    from hard.outputs import Plot
    from hard.pipeline import Choice
    from hard.replay import Outcome

__all__ = ["app"]

app = typer.Typer()

# -- replay --------------------------------------------------------------------------------------


@app.command(
    epilog="\b\nExamples:\n"
    "  hard replay walk.csv\n"
    "  hard replay recordings/20260501T093000Z\n"
    "  hard replay --model waist --json walk.csv | jq .activity\n"
    "  hard replay --join 0 trial-1.csv trial-2.csv --plot day.png\n"
    "  hard replay walk.csv --rate 50 --accel-unit g --predictions windows.csv\n"
    "  hard replay walk.csv --explain --from 0:20 --to 0:40"
)
def replay(
    files: Annotated[
        list[Path], typer.Argument(help="CSV, export of an app, session of `hard record` …")
    ],
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
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="Configuration (TOML); else the defaults.")
    ] = None,
    rate: RateOption = None,
    accel_unit: AccelUnitOption = None,
    gyro_unit: GyroUnitOption = None,
    file_format: FormatOption = "auto",
    platform: PlatformOption = None,
    start: StartOption = None,
    strict: Annotated[bool, typer.Option(help="Fail if anything had to be skipped.")] = False,
    explain: Annotated[
        bool, typer.Option(help="Tell of each window what the model said and what came of it.")
    ] = False,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="Explain from then on: RFC 3339, or h:mm:ss of the recording."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Explain until then.")] = None,
) -> None:
    """Recognise activities in recordings, just as the daemon would."""
    given = reading_options(
        rate=rate,
        accel_unit=accel_unit,
        gyro_unit=gyro_unit,
        file_format=file_format,
        platform=platform,
        start=start,
    )
    refuse_overwriting(files, predictions, plot)
    sources = file_sources(recordings_named(files), given)
    stretch = _stretch(begin, end, explain=explain)
    recorded = _recorded(sources, its_model=model is None) if config is None else {}
    call = _Replay(
        sources, loaded(config), model, recorded, join, _pace(speed), stretch, as_json=as_json
    )
    outcome = call.run(publish, predictions, plot)
    if not outcome.windows:
        fail(f"{sources[0].name}: {outcome.why_no_window}")
    call.show(outcome, published=publish is not None)
    if strict and (outcome.faults or outcome.rejections):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Recorded:
    """The model and the decision settings of a session's stream, None where there are none."""

    model: str | None
    decision: DecisionSettings | None


def _recorded(sources: Sequence[Source[Any]], *, its_model: bool) -> dict[str, _Recorded]:
    """Return what sessions tell of their streams; say once what can't be had."""
    found: dict[str, _Recorded] = {}
    lacking: dict[str, None] = {}  # in order
    for source in sources:
        if body := session_metadata(Path(source.name)):
            model = _recorded_model(body, lacking) if its_model else None
            found[source.config.stream_for(Path(source.name))] = _Recorded(
                model, _recorded_decision(body, lacking)
            )
    for line in lacking:
        typer.echo(line, err=True)
    return found


def _recorded_model(body: Mapping[str, Any], lacking: dict[str, None]) -> str | None:
    from hard.card import ModelCard, bundled  # noqa: PLC0415

    identity = str(body.get("model"))
    name = identity.partition("@")[0]
    if name in bundled() and ModelCard.load(name)[0].identity == identity:
        return name
    if "model" not in body:
        lacking["the session names no model: name it with --model or -c"] = None
    else:
        told = f"recorded with the model {identity!r}, which is not installed here: "
        lacking[f"{told}the configured one decides; give its card with --model"] = None
    return None


def _recorded_decision(
    body: Mapping[str, Any], lacking: dict[str, None]
) -> DecisionSettings | None:
    from pydantic import ValidationError  # noqa: PLC0415

    from hard.decision import DecisionSettings  # noqa: PLC0415

    try:
        return DecisionSettings.model_validate(body.get("decision"), strict=False)
    except ValidationError:
        told = "the session does not tell the decision settings that it was recorded with, "
        lacking[f"{told}or this hard does not know them: name its configuration with -c"] = None
    return None


def _stop(stop: threading.Event) -> None:
    """Stop when told so; told again, end at once."""
    if stop.is_set():
        raise SystemExit(INTERRUPTED)
    stop.set()


@dataclass(frozen=True)
class _Replay:
    """A call of `hard replay`; exits where anything of it is refused."""

    sources: list[Source[Any]]
    configuration: Configuration
    model: str | None
    recorded: dict[str, _Recorded]
    join_s: float | None
    pace: float | None
    explained: Stretch | None
    as_json: bool
    instead: dict[str, TFLiteClassifier] = field(default_factory=dict)

    def run(self, publish: str | None, predictions: Path | None, plot: Path | None) -> Outcome:
        """Replay, and leave the files that are asked for."""
        from hard.outputs import Plot  # noqa: PLC0415

        if plot is not None:
            require_matplotlib()
        drawn = None if plot is None else Plot()
        with contextlib.ExitStack() as opened:
            show: Callable[[Sequence[Event]], None] | None
            show = None if self.pace is None else self._print
            if publish is not None:
                show = opened.enter_context(_publisher(publish, self.configuration))
            outcome = self._replayed(predictions, drawn, show)
        if plot is not None and drawn is not None:
            try:
                drawn.draw(plot, outcome)
            except OSError as error:
                fail(f"{plot}: can't be written: {error.strerror}")
        return outcome

    def _replayed(
        self,
        predictions: Path | None,
        drawn: Plot | None,
        show: Callable[[Sequence[Event]], None] | None,
    ) -> Outcome:
        from hard.api import UnusableInput  # noqa: PLC0415
        from hard.card import ModelRefused  # noqa: PLC0415
        from hard.recording import is_of_session  # noqa: PLC0415
        from hard.replay import replay as run_replay  # noqa: PLC0415

        settings, stop = self.configuration.settings, threading.Event()
        models = Models(settings, self.model)
        try:
            with (
                self._watching(models, predictions, drawn) as watch,
                on_interrupt(partial(_stop, stop)) as interrupted,
                progress() as tell,
            ):
                models.load_all()
                outcome = run_replay(
                    self.sources,
                    partial(self._choose, models),
                    join_s=self.join_s,
                    speed=self.pace,
                    watch=watch,
                    publish=show,
                    progress=tell,
                    stop=stop,
                    mount=settings.axes_of,
                    dispensable=[s.name for s in self.sources if is_of_session(Path(s.name))],
                    hear=None if self.explained is None else self.explained.hear,
                    explain=None if self.explained is None else self._explain,
                    without_gyro=partial(self._without_gyro, models),
                    renewed=self._renewed,
                )
                if interrupted:
                    fail("interrupted", INTERRUPTED)  # and no half-written file is left
        except (UnusableInput, ModelRefused) as error:
            fail(error)
        except OSError as error:
            if predictions is None or isinstance(error, BrokenPipeError):
                raise
            fail(f"{predictions}: can't be written: {error.strerror}")
        return outcome

    def _choose(self, models: Models, stream: str) -> tuple[TFLiteClassifier, DecisionSettings]:
        """Return what a stream was recorded with, or else what is configured."""
        recorded = self.recorded.get(stream, _Recorded(None, None))
        if recorded.model is not None and recorded.decision is not None:
            return models.load(recorded.model), recorded.decision
        model, decision = models.choose(stream)
        return (
            model if recorded.model is None else models.load(recorded.model),
            recorded.decision or decision,
        )

    def _without_gyro(self, models: Models, stream: str) -> Choice | None:
        """Return what to use where the gyroscope is missing, unless a model was asked for."""
        recorded = self.recorded.get(stream, _Recorded(None, None))
        found = None if self.model else models.without_gyro(stream, recorded.model)
        if found is not None:
            found = (found[0], recorded.decision or found[1])
            self.instead[stream] = found[0]
        return found

    def _renewed(self, renew: Renew) -> None:
        """Go by the model and the settings that live took here, unless others are given."""
        if renew.stream not in self.recorded:
            return
        lacking: dict[str, None] = {}
        self.recorded[renew.stream] = _Recorded(
            None if self.model else _recorded_model(renew.about, lacking),
            _recorded_decision(renew.about, lacking),
        )
        for line in lacking:
            typer.echo(line, err=True)

    @contextlib.contextmanager
    def _watching(
        self, models: Models, predictions: Path | None, drawn: Plot | None
    ) -> Iterator[Callable[[Any], None] | None]:
        """Give what is told of every prediction, for the CSV and the plot; None for neither."""
        from hard.outputs import PredictionsCsv, written_aside  # noqa: PLC0415

        if predictions is None and drawn is None:
            yield None
            return
        several = len(self.sources) > 1 and self.join_s is None
        with contextlib.ExitStack() as opened:
            rows = None
            if predictions is not None:
                file = opened.enter_context(written_aside(predictions))
                rows = PredictionsCsv(file, several=several)

            def watch(batch: Any) -> None:
                model = self.instead.get(batch.stream) or self._choose(models, batch.stream)[0]
                labels = model.card.states
                if rows is not None:
                    rows.write(batch, labels)
                if drawn is not None:
                    drawn.see(batch, labels)

            yield watch

    def _explain(self, window: Explained) -> None:
        """Print how a window was judged, if that is asked for."""
        from hard.explaining import explained_line  # noqa: PLC0415

        assert self.explained is not None
        if not self.explained.holds(window):
            return
        if self.as_json:
            typer.echo(json.dumps({"explained": window.payload()}))
        else:
            typer.echo(explained_line(window, relative=self.explained.relative))

    def _print(self, events: Sequence[Event]) -> None:
        from hard.api import rfc3339  # noqa: PLC0415

        for event in events:
            if self.as_json:
                typer.echo(json.dumps(event.payload()))
                continue
            what = event.activity or f"{event.previous} -> {event.status}"
            sure = "" if event.confidence is None else f"{event.confidence:.0%}"
            typer.echo(f"{rfc3339(event.t_decided)}  {event.stream}  {event.kind}  {what}  {sure}")

    def show(self, outcome: Outcome, *, published: bool) -> None:
        """Print what was found, but for the events that were printed as they came."""
        from hard.replay import day_table, moment, summary, timeline  # noqa: PLC0415

        summaries = self._summaries(outcome)
        came_live = self.pace is not None and not published
        if self.as_json and not came_live:
            self._print(outcome.events)
        elif not self.as_json and outcome.bouts:
            above = "\n" if came_live or self.explained is not None else ""
            days = f"\n\n{day_table(summaries)}" if summaries else ""
            typer.echo(f"{above}{timeline(outcome)}\n\n{summary(outcome)}{days}")
        if self.as_json:
            for day in summaries:
                typer.echo(json.dumps({"summary": day.payload()}))
        for bout in outcome.rejections:
            begin, end = (moment(t, relative=outcome.relative) for t in (bout.t_start, bout.t_end))
            typer.echo(f"{bout.stream}: rejected from {begin} to {end}: {bout.reason}", err=True)
        if outcome.faults:
            told = ", ".join(f"{n} {reason}" for reason, n in outcome.faults.items())
            typer.echo(f"skipped: {told}", err=True)

    def _summaries(self, outcome: Outcome) -> list[DaySummary]:
        """Return the days of each stream, if its times are absolute and it goes over a midnight."""
        from hard.daily import days_of  # noqa: PLC0415

        if outcome.relative or outcome.last_ns is None:
            return []
        zone_of = self.configuration.settings.zone_of
        return days_of(outcome.events, zone_of, outcome.last_ns)


def _stretch(begin: str | None, end: str | None, *, explain: bool) -> Stretch | None:
    """Return what is to be explained, None for nothing; exit where that can't be understood."""
    from hard.explaining import Stretch, time_given  # noqa: PLC0415

    if not explain:
        if begin is not None or end is not None:
            fail("--from and --to say what to explain: give --explain too", BAD_USAGE)
        return None
    given = []
    for option, text in (("--from", begin), ("--to", end)):
        try:
            given.append(None if text is None else time_given(text))
        except ValueError as error:
            fail(f"{option} {error}", BAD_USAGE)
    return Stretch(*given)


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


@contextlib.contextmanager
def _publisher(
    name: str, configuration: Configuration
) -> Iterator[Callable[[Sequence[Event]], None]]:
    """Deliver a replay's events to one sink, as another node and with nothing retained."""
    from hard.eventlog import EventLog  # noqa: PLC0415
    from hard.plugins import create  # noqa: PLC0415
    from hard.states import StateBoard  # noqa: PLC0415
    from hard.threads import SinkThread  # noqa: PLC0415

    settings = configuration.settings
    if name not in settings.sinks:
        known = ", ".join(sorted(settings.sinks)) or "none; give a configuration with -c"
        fail(f"--publish: no sink {name!r} is configured; there are: {known}", BAD_USAGE)
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
        fail(f"--publish: {left} events could not be delivered to {name!r}")


# -- inspect -------------------------------------------------------------------------------------


@app.command(
    epilog="\b\nExamples:\n"
    "  hard inspect walk.csv\n"
    "  hard inspect recordings/20260501T093000Z\n"
    "  hard inspect export.zip --json\n"
    "  hard inspect dump.bin --rate 50 --plot dump.png"
)
def inspect(
    file: Annotated[Path, typer.Argument(help="A recording: any that `hard replay` takes.")],
    *,
    as_json: JsonOption = False,
    plot: Annotated[Path | None, typer.Option(help="Draw each sensor's norm.")] = None,
    rate: RateOption = None,
    accel_unit: AccelUnitOption = None,
    gyro_unit: GyroUnitOption = None,
    file_format: FormatOption = "auto",
    platform: PlatformOption = None,
    start: StartOption = None,
) -> None:
    """Tell what is in a recording, and what fits or contradicts."""
    from hard.inspection import described  # noqa: PLC0415

    given = reading_options(
        rate=rate,
        accel_unit=accel_unit,
        gyro_unit=gyro_unit,
        file_format=file_format,
        platform=platform,
        start=start,
    )
    refuse_overwriting([file], plot)
    if plot is not None:
        require_matplotlib()
    sources = file_sources(recordings_named([file]), given)
    opened, found = _inspected(sources)
    if plot is not None:
        _draw_signal(found, plot)
    skipped: Counter[str] = sum((source.counts for source in sources), Counter())
    if as_json:
        body = {"file": str(file), "opened": opened, "skipped": dict(skipped)}
        typer.echo(json.dumps(body | found.to_json()))
        return
    typer.echo("\n".join([str(file), *(f"  {line}" for line in opened), "", described(found)]))
    for reason, n in skipped.items():
        typer.echo(f"skipped   {n} {reason}")
    mended = " ".join(f"--{key.replace('_', '-')} {v}" for key, v in found.options.items())
    if mended:
        typer.echo(f"\ntry: hard replay {file} {mended}")


def _inspected(sources: Sequence[Source[Any]]) -> tuple[list[str], Inspection]:
    """Read recordings to their ends; return how each was opened, and what is in all of them."""
    from hard.api import UnusableInput  # noqa: PLC0415
    from hard.card import ModelCard, bundled  # noqa: PLC0415
    from hard.inspection import Inspector  # noqa: PLC0415

    inspector = Inspector({name: ModelCard.load(name)[0].input for name in bundled()})
    stop = threading.Event()
    opened = []
    try:
        with on_interrupt(stop.set) as interrupted, progress("reading") as tell:
            for source in sources:
                of = f"{Path(source.name).name}: " if len(sources) > 1 else ""
                opened += [f"{of}{stage.detail}" for stage in source.probe(5.0) if stage.ok]
                if tell is not None:
                    tell(source.name)
                source.run(inspector.feed, stop)
    except UnusableInput as error:
        fail(error)
    if interrupted:
        fail("interrupted", INTERRUPTED)
    return opened, inspector.finish()


def _draw_signal(found: Inspection, plot: Path) -> None:
    from hard.inspection import figure  # noqa: PLC0415
    from hard.outputs import written_aside  # noqa: PLC0415

    try:
        with written_aside(plot, "wb") as png:
            figure(found).savefig(png, format="png", dpi=100)
    except OSError as error:
        fail(f"{plot}: can't be written: {error.strerror}")
