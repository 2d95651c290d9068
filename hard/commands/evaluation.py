"""`hard evaluate`: how good the events are on recordings that have labels."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads the annotations
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
from hard.commands.reading import file_sources, recordings_named, refuse_overwriting
from hard.commands.terminal import (
    BAD_USAGE,
    INTERRUPTED,
    fail,
    on_interrupt,
    progress,
    require_matplotlib,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hard.api import Source
    from hard.card import ModelCard
    from hard.conditioning import Axes
    from hard.decision import DecisionSettings
    from hard.evaluation import Predictions, Trial
    from hard.replay import Outcome
    from hard.scoring import Segment

__all__ = ["app"]

app = typer.Typer()

_MOST_TRIALS = 2000


@app.command(
    epilog="\b\nExamples:\n"
    "  hard evaluate walk.csv\n"
    "  hard evaluate recordings/20260501T093000Z -c hard.toml --plot truth.png\n"
    "  hard evaluate --model waist --join 0 acc_exp04_user02.txt acc_exp05_user03.txt\n"
    "  hard evaluate walk.csv --labels mine.csv --set min_dwell_s=5 --json\n"
    "  hard evaluate walk.csv --grid min_dwell_s=0,2,5 --grid enter=0.4,0.5,0.6 --plot curve.png"
)
def evaluate(
    files: Annotated[
        list[Path], typer.Argument(help="Recordings with labels: any that `hard replay` takes.")
    ],
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV of t_start_ns,t_end_ns,label, instead of the recording's own."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="Configuration (TOML); else the defaults.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundled model, or the path of a card; else as configured.")
    ] = None,
    join: Annotated[
        float | None,
        typer.Option(min=0, max=1e7, help="Make the files one recording, so far apart (s)."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value of [decision], here only; repeat the option."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="key=a,b,c of [decision]: try every combination; repeat the option."),
    ] = None,
    warm: Annotated[
        bool,
        typer.Option(
            "--warm", help="Know from the begin which way is up, as the whole recording tells it."
        ),
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Seconds that an onset may be off by.")
    ] = 2.0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw truth above result; of a grid, the trade-off.")
    ] = None,
    as_json: JsonOption = False,
    rate: RateOption = None,
    accel_unit: AccelUnitOption = None,
    gyro_unit: GyroUnitOption = None,
    file_format: FormatOption = "auto",
    platform: PlatformOption = None,
    start: StartOption = None,
) -> None:
    """Measure events against labels, and try other settings.

    Labels are a column `label`, NAME.labels.csv beside NAME.csv, annotations of a session, or what
    the format has; a label that the model does not have counts as unknown.  With --grid a * marks
    what no other combination beats.  --warm is for models that learn which way is up: the figures
    of a daemon that knew its wearer before.
    """
    given = reading_options(
        rate=rate,
        accel_unit=accel_unit,
        gyro_unit=gyro_unit,
        file_format=file_format,
        platform=platform,
        start=start,
    )
    refuse_overwriting([*files, *([labels] if labels else [])], plot)
    if plot is not None:
        require_matplotlib()
    sources = file_sources(recordings_named(files), given)
    trials = _trials(_pairs("--grid", grid))
    configuration = loaded(config)
    settings = _changed(configuration.settings.decision, _pairs("--set", changes))
    tried = [_changed(settings, trial) for trial in trials]
    evaluated = _replayed(
        sources,
        Models(configuration.settings.model_copy(update={"decision": settings}), model),
        configuration.settings.axes_of,
        join,
        labels,
        warm=warm,
    )
    if trials:
        evaluated.show_grid(trials, tried, tolerance, plot, as_json=as_json)
    else:
        evaluated.show(tolerance, plot, as_json=as_json)


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """Return what stands behind each key; exit where one has no value or stands twice."""
    pairs: dict[str, str] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            fail(f"{option} {text!r}: give key=value, such as {option} min_dwell_s=5", BAD_USAGE)
        if key in pairs:
            fail(f"{option} {key}: given twice", BAD_USAGE)
        pairs[key] = value
    return pairs


def _trials(grid: Mapping[str, str]) -> list[dict[str, str]]:
    from math import prod  # noqa: PLC0415

    from hard.evaluation import combinations  # noqa: PLC0415

    values = {key: list(dict.fromkeys(text.split(","))) for key, text in grid.items()}
    n = prod(map(len, values.values()))
    if n > _MOST_TRIALS:
        fail(f"--grid: {n} combinations; {_MOST_TRIALS} at most", BAD_USAGE)
    return combinations(values) if values else []


def _changed(settings: DecisionSettings, changes: Mapping[str, str]) -> DecisionSettings:
    from hard.evaluation import UnknownSetting, with_settings  # noqa: PLC0415

    try:
        return with_settings(settings, changes)
    except UnknownSetting as error:
        fail(error, BAD_USAGE)


def _replayed(
    sources: list[Source[Any]],
    models: Models,
    mount: Callable[[str], Axes],
    join_s: float | None,
    labels: Path | None,
    *,
    warm: bool,
) -> _Evaluated:
    """Let recordings go through the pipeline; exit where they, or their labels, can't be used."""
    from hard.api import UnusableInput  # noqa: PLC0415
    from hard.card import ModelRefused  # noqa: PLC0415
    from hard.evaluation import Hearing, Predictions, labels_in  # noqa: PLC0415
    from hard.replay import replay  # noqa: PLC0415

    predictions, hearing, stop = Predictions(), Hearing(), threading.Event()
    try:
        given = None if labels is None else labels_in(labels)
        with on_interrupt(stop.set) as interrupted, progress() as tell:
            models.load_all()
            known = {}
            if warm:  # not causal: what the end of the recording knows
                once = replay(sources, models.choose, join_s=join_s, stop=stop, mount=mount)
                known = once.references
            outcome = replay(
                sources,
                models.choose,
                join_s=join_s,
                references=known,
                watch=predictions.see,
                progress=tell,
                stop=stop,
                mount=mount,
                hear=hearing.hear,
            )
    except (UnusableInput, ModelRefused) as error:
        fail(error)
    if interrupted:
        fail("interrupted", INTERRUPTED)
    if not outcome.windows:
        fail(f"{sources[0].name}: {outcome.why_no_window}")
    streams = hearing.streams()
    if given is not None and len(streams) > 1:
        fail("--labels is of one stream: give one recording, or --join them", BAD_USAGE)
    heard = hearing.segments() if given is None else {s: hearing.sampled(s, given) for s in streams}
    truth = _truth(heard, models)
    lacking = [stream for stream in streams if stream not in truth]
    if not truth and labels is not None:
        fail(f"{labels}: no label within the recording's time (ns, as in its stamps)")
    if not truth:
        fail(
            f"{sources[0].name}: no labels: a plain CSV takes a column `label`, any recording "
            "NAME.labels.csv beside it, or --labels FILE (t_start_ns,t_end_ns,label)"
        )
    if lacking:
        typer.echo(f"left out, no labels: {', '.join(lacking)}", err=True)
    return _Evaluated(models, predictions, outcome, truth)


def _truth(heard: Mapping[str, Sequence[Segment]], models: Models) -> dict[str, list[Segment]]:
    from hard.evaluation import truth_of  # noqa: PLC0415

    meant = {
        stream: truth_of(segments, models.choose(stream)[0].card)
        for stream, segments in heard.items()
    }
    return {stream: segments for stream, segments in meant.items() if segments}


@dataclass(frozen=True)
class _Evaluated:
    """What the replay of labelled recordings gave, and what is told of it."""

    models: Models
    predictions: Predictions
    outcome: Outcome
    truth: dict[str, list[Segment]]

    def show(self, tolerance_s: float, plot: Path | None, *, as_json: bool) -> None:
        """Print the figures of each stream and of all."""
        from hard.evaluation import judged, report  # noqa: PLC0415
        from hard.plots import draw_truth  # noqa: PLC0415
        from hard.scoring import pooled, shown_in  # noqa: PLC0415

        shown = shown_in(self.outcome.events)
        scores = judged(self.truth, shown, self._card, tolerance_s)
        if as_json:
            for stream, one in scores.items():
                _print({"kind": "stream", "stream": stream, **one.to_json()})
            total = pooled(scores.values())
            _print({"kind": "pooled", "streams": len(scores), **total.to_json()})
        else:
            typer.echo(report(scores))
        self._tell_skipped()
        if plot is not None:
            _drawn(plot, lambda path: draw_truth(path, self.truth, shown))

    def show_grid(
        self,
        trials: Sequence[dict[str, str]],
        tried: Sequence[DecisionSettings],
        tolerance_s: float,
        plot: Path | None,
        *,
        as_json: bool,
    ) -> None:
        """Decide once more for each combination, and print what comes of it."""
        from hard.evaluation import COSTS, grid_table, on_front  # noqa: PLC0415
        from hard.plots import draw_grid  # noqa: PLC0415

        found = []
        with progress("deciding") as tell:
            for number, (changes, settings) in enumerate(zip(trials, tried, strict=True), 1):
                if tell is not None:
                    tell(f"{number} of {len(trials)}")
                found.append(self._trial(changes, settings, tolerance_s))
        found.sort(key=lambda trial: trial.cost)
        if as_json:
            for trial, best in zip(found, on_front(found), strict=True):
                _print({"kind": "grid", "best": best, **trial.to_json()})
        else:
            typer.echo(grid_table(found))
            typer.echo("* nothing else tried is better in one of these and no worse in the others:")
            typer.echo(f"  {', '.join(COSTS)}")
        self._tell_skipped()
        if plot is not None:
            _drawn(plot, lambda path: draw_grid(path, found))

    def _trial(
        self, changes: dict[str, str], settings: DecisionSettings, tolerance_s: float
    ) -> Trial:
        from hard.evaluation import Trial, judged  # noqa: PLC0415
        from hard.scoring import pooled  # noqa: PLC0415

        known = self.predictions.streams()
        shown = {
            stream: self.predictions.decided(stream, self._card(stream), settings)
            for stream in self.truth
            if stream in known
        }
        return Trial(changes, pooled(judged(self.truth, shown, self._card, tolerance_s).values()))

    def _card(self, stream: str) -> ModelCard:
        return self.models.choose(stream)[0].card

    def _tell_skipped(self) -> None:
        if self.outcome.faults:
            told = ", ".join(f"{n} {reason}" for reason, n in self.outcome.faults.items())
            typer.echo(f"skipped: {told}", err=True)


def _print(body: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(body))


def _drawn(plot: Path, draw: Callable[[Path], None]) -> None:
    try:
        draw(plot)
    except OSError as error:
        fail(f"{plot}: can't be written: {error.strerror}")
