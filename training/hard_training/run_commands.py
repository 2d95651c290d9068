"""The commands that make models: `hard-train run`, `personalize` and `compare`.

Registered by `hard_training.cli`.  Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hard.api import UnusableInput
from hard.card import ModelRefused
from hard_training.datasets import DataMissing, data_folder
from hard_training.recipe import RecipeError, bundled_recipes, load_sweep
from hard_training.run_folder import RunFolder

if TYPE_CHECKING:
    from hard_training.learners import Epoch
    from hard_training.recipe import Recipe

__all__ = ["app"]

app = typer.Typer()

Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the data sets as downloaded; default $HARD_DATA, else ../shared/data."
    ),
]


class _Placement(StrEnum):
    POCKET = "pocket"
    WAIST = "waist"


class _Weights(StrEnum):
    FLOAT = "float"
    FLOAT16 = "float16"
    DYNAMIC_RANGE = "dynamic-range"
    INT8 = "int8"


class _Frame(StrEnum):
    DEVICE = "device"
    UPRIGHT = "upright"


class _Channels(StrEnum):
    BOTH = "accel+gyro"
    ACCEL = "accel"


class _Arch(StrEnum):
    CONV_LSTM = "conv-lstm"
    TINY = "tiny"
    CNN = "cnn"
    TUTORIAL = "tutorial"


def _fail(error: Exception | str, code: int = 1) -> NoReturn:
    typer.echo(f"hard-train: {error}", err=True)
    raise typer.Exit(code)


@app.command()
def run(
    placement: Annotated[
        _Placement | None, typer.Option(help="Take the recipe of this placement's bundled model.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Take the recipe, or the sweep, in this TOML file.")
    ] = None,
    arch: Annotated[_Arch | None, typer.Option(help="Network to train.")] = None,
    channels: Annotated[
        _Channels | None, typer.Option(help="With the gyroscope, or without.")
    ] = None,
    frame: Annotated[
        _Frame | None,
        typer.Option(help="Axes: the device's own, or turned so that +z is up, told by gait."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="The most to train for.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    weights: Annotated[
        _Weights | None,
        typer.Option(help="Of the .tflite: float, halved, or 8-bit in a third of the size."),
    ] = None,
    data: Data = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs, each in one of its own.")] = Path(
        "runs"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Copy the model, its card and its weights there as well.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, though there is one to go on with.")
    ] = False,
    open_test: Annotated[
        bool,
        typer.Option(
            "--open-test", help="When done, measure on the test people; the look is logged."
        ),
    ] = False,
    report: Annotated[
        bool, typer.Option(help="Write report.html into the run's folder (never for a sweep).")
    ] = True,
) -> None:
    """Train a model, export it past all gates, and write it with its card and its report.

    A run that was stopped goes on where it was when the same command is given again.

    hard-train run --placement pocket --channels accel
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its notes, not its errors
    wanted: dict[str, Any] = {"network.arch": arch, "network.epochs": epochs, "seed": seed}
    wanted["weights"] = weights
    path = _recipe_file(placement, config, channels, frame)
    if config is not None:
        wanted["channels"] = channels
    if config is not None or channels is _Channels.ACCEL:
        wanted["frame"] = frame
    settings = {key: _plain(value) for key, value in wanted.items() if value is not None}
    try:
        planned = load_sweep(path, settings)
    except RecipeError as error:
        _fail(error)
    if len(planned) > 1 and (out or open_test):
        _fail("--out and --open-test are for one model, the recipe has a sweep of several", 2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as on Ctrl-C
    finished = []
    for chosen, recipe in planned:
        folder = RunFolder(runs, recipe)
        _train(recipe, folder, data_folder(data), _command(path, settings, chosen), fresh=fresh)
        if open_test:
            _open_test(folder, data_folder(data))
        if report and len(planned) == 1:
            _report(folder, data_folder(data))
        if out:
            _copy(folder, out)
        finished.append((chosen, folder))
    if len(finished) > 1:
        _print_sweep(finished)
    else:
        _print_run(finished[0][1])


def _plain(value: str | int) -> str | int:
    return value.value if isinstance(value, StrEnum) else value


def _recipe_file(
    placement: _Placement | None,
    config: Path | None,
    channels: _Channels | None,
    frame: _Frame | None,
) -> Path:
    if (placement is None) == (config is None):
        _fail("give either --placement or --config", 2)
    if config is not None:
        return config
    if channels is _Channels.ACCEL:
        return bundled_recipes()[f"{placement}-accel"]
    return bundled_recipes()[f"{placement}{'-upright' if frame is _Frame.UPRIGHT else ''}"]


_OPTIONS = {"": "", "-upright": " --frame upright", "-accel": " --channels accel"}
"""What tells apart the bundled recipes of one placement."""


def _command(path: Path, settings: dict[str, Any], chosen: dict[str, Any]) -> str:
    """Return what trains the same again, as far as options say it; the rest is in the recipe."""
    placement, dash, variant = path.stem.partition("-")
    if bundled_recipes().get(path.stem) == path and dash + variant in _OPTIONS:
        options = [f"--placement {placement}{_OPTIONS[dash + variant]}"]
    else:
        options = [f"--config {path.name}"]
    options += [f"--{key.rpartition('.')[2]} {value}" for key, value in settings.items()]
    sweep = " ".join(f"{key}={value}" for key, value in chosen.items())
    return " ".join(["hard-train run", *options]) + (f" ({sweep})" if sweep else "")


def _train(recipe: Recipe, folder: RunFolder, data: Path, command: str, *, fresh: bool) -> None:
    """Train one model, unless it is there."""
    if not fresh and folder.figures() is not None:
        typer.echo(f"{folder.path}: finished before; --fresh trains it anew", err=True)
        return
    from hard_training.export import GateFailed  # noqa: PLC0415 - TensorFlow takes seconds
    from hard_training.produce import produce  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("reading the data", total=recipe.network.architecture.epochs)

        def on_epoch(epoch: Epoch) -> None:
            text = f"validation people {epoch.validation_share_right:.1%} right"
            bar.update(task, completed=epoch.number, description=text)

        try:
            produce(recipe, data, folder, command=command, fresh=fresh, on_epoch=on_epoch)
        except (DataMissing, GateFailed, UnusableInput) as error:
            bar.stop()
            _fail(error)
        except KeyboardInterrupt:
            bar.stop()
            _fail(f"stopped; the same command goes on from {folder.checkpoint}", 130)


def _open_test(folder: RunFolder, data: Path) -> None:
    """Measure on the test people, in card and figures, and log the look."""
    from hard.card import ModelCard  # noqa: PLC0415
    from hard_training.evaluation.commands import (  # noqa: PLC0415
        in_brief,
        looked_at_test_people,
    )
    from hard_training.produce import opened  # noqa: PLC0415 - TensorFlow takes seconds

    card, _ = ModelCard.load(folder.card)
    try:
        card = opened(folder.card, card, data)
    except (DataMissing, UnusableInput) as error:
        _fail(error)
    metrics = card.provenance.metrics
    folder.finish((folder.figures() or {}) | {k: metrics[k] for k in ("test", "test_timeline")})
    looked_at_test_people(
        folder.path, card.identity, folder.recipe.data_sets[0], in_brief(metrics["test"])
    )


def _report(folder: RunFolder, data: Path) -> None:
    from hard_training.evaluation.report import write_report  # noqa: PLC0415 - matplotlib is slow

    typer.echo(f"writing {folder.path / 'report.html'}", err=True)
    try:
        write_report(folder.path, data=data)
    except (ModelRefused, UnusableInput) as error:
        _fail(error)


def _copy(folder: RunFolder, out: Path) -> None:
    """Copy model, weights and, last, the card, each aside and renamed."""
    out.mkdir(parents=True, exist_ok=True)
    for path in (folder.card.with_suffix(".tflite"), folder.weights, folder.card):
        aside = out / f".{path.name}.part"
        shutil.copyfile(path, aside)
        aside.replace(out / path.name)


def _print_run(folder: RunFolder) -> None:
    figures = folder.figures() or {}
    typer.echo(f"{folder.card}: {figures['model']}, {figures['parameters']} parameters")
    for runtime, found in figures["export"]["runtimes"].items():
        typer.echo(
            f"{runtime}: {figures['export']['bytes']} bytes, {found['ms_per_window']} ms a window, "
            f"{found['label_agreement']:.2%} of labels as trained"
        )
    for part in ("validation", "test"):
        if part in figures:
            _print_scores(part, figures[part])
    if "test_timeline" in figures:
        shown = figures["test_timeline"]["mean_accuracy"]
        typer.echo(f"timeline of the test people: {shown:.1%} of the time right")


def _print_scores(part: str, scores: dict[str, Any]) -> None:
    low, high = scores["interval_95"]
    typer.echo(
        f"{part}: {scores['windows']} windows of {len(scores['people'])} people, mean over people "
        f"{scores['mean_accuracy']:.1%} right (95 % interval {low:.1%} to {high:.1%}), macro F1 "
        f"{scores['macro_f1']:.3f}"
    )
    table = Table("label", "windows", "precision", "recall", "F1")
    for label, row in scores["labels"].items():
        shares = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(label, str(row["windows"]), *shares)
    Console(file=sys.stdout).print(table)


def _print_sweep(finished: list[tuple[dict[str, Any], RunFolder]]) -> None:
    """Print the runs, the best on the validation people first; nobody is tested by a sweep."""
    found = [(chosen, folder, folder.figures() or {}) for chosen, folder in finished]
    found.sort(key=lambda row: -row[2]["validation"]["mean_accuracy"])
    table = Table(*found[0][0], "validation right", "macro F1", "parameters", "bytes", "run")
    for chosen, folder, figures in found:
        scores = figures["validation"]
        table.add_row(
            *(str(value) for value in chosen.values()),
            f"{scores['mean_accuracy']:.1%}",
            f"{scores['macro_f1']:.3f}",
            str(figures["parameters"]),
            str(figures["export"]["bytes"]),
            folder.path.name,
        )
    Console(file=sys.stdout).print(table)


@app.command()
def personalize(
    card: Annotated[str, typer.Argument(help="Name of a bundled model, or path of a card.")],
    recordings: Annotated[
        list[Path], typer.Argument(help="Labelled recordings of the wearer, the earliest first.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the new model and its card.")] = Path("out"),
    name: Annotated[str | None, typer.Option(help="Of the new model; default CARD-personal.")] = (
        None
    ),
    weights: Annotated[
        Path | None, typer.Option(help="The model's NAME.weights.npz; default: beside its card.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Adapt a model to one wearer from a few labelled minutes; write it only if it got better.

    Half a minute of each activity or more: the later part of each is held out to check on.  Exits
    with 1, having written nothing, where the new model is no better there.

    hard-train personalize runs/pocket-1a2b3c4d/pocket.json walk.csv --out out
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from hard_training.export import GateFailed  # noqa: PLC0415 - TensorFlow takes seconds
    from hard_training.personalize import personalize as adapt  # noqa: PLC0415

    command = f"hard-train personalize {card} {' '.join(path.name for path in recordings)}"
    try:
        outcome = adapt(card, recordings, out, weights=weights, name=name, command=command)
    except (GateFailed, ModelRefused, UnusableInput) as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(asdict(outcome), default=str))
    else:
        before, after = outcome.balanced
        typer.echo(
            f"{', '.join(outcome.labels)}: adapted on {outcome.adapted_minutes:g} min; of "
            f"{outcome.held_out_minutes:g} min held out, mean over labels {before:.1%} right "
            f"before and {after:.1%} after"
        )
        typer.echo(str(outcome.card or "nothing written: it is no better"))
    if outcome.card is None:
        raise typer.Exit(1)


@app.command()
def compare(
    cards: Annotated[list[str], typer.Argument(help="Names of bundled models, or paths of cards.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Show models side by side: labels, inputs, size, time a window on this machine, figures.

    hard-train compare pocket waist
    """
    from hard_training.compare import compare as measure  # noqa: PLC0415 - the runtime takes a moment

    try:
        rows = measure(cards)
    except ModelRefused as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    columns = ("model", "labels", "channels", "frame", "bytes", "parameters", "ms")
    table = Table(*columns, "validation right", "test right (95 %)", "test F1")
    for row in rows:
        test = row["test"]
        table.add_row(
            row["model"],
            str(len(row["labels"])),
            str(row["channels"]),
            row["frame"],
            str(row["bytes"]),
            str(row["parameters"]),
            f"{row['ms_per_window']:.3f}",
            f"{row['validation']['mean_accuracy']:.1%}" if row["validation"] else "-",
            "{:.1%} ({:.1%} to {:.1%})".format(test["mean_accuracy"], *test["interval_95"])
            if test
            else "not opened",
            f"{test['macro_f1']:.3f}" if test else "-",
        )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)
