"""The command `hard-train`: reads arguments, shows progress, prints results.

Every heavy import happens inside a command; `evaluate` never loads TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hard.api import UnusableInput
from hard_training.datasets import DATA_SETS, DataMissing, data_folder

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train, export and measure the models of hard.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
    DYNAMIC_RANGE = "dynamic-range"


class _Frame(StrEnum):
    DEVICE = "device"
    UPRIGHT = "upright"


class _Turned(StrEnum):
    NO = "no"
    HEADING = "heading"
    ANY = "any"


class _Arch(StrEnum):
    CONV_LSTM = "conv-lstm"
    TUTORIAL = "tutorial"


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"hard-train: {error}", err=True)
    raise typer.Exit(1) from error


@app.command()
def run(
    placement: Annotated[_Placement, typer.Option(help="Where the phone is worn.")],
    arch: Annotated[_Arch, typer.Option(help="Network to train.")] = _Arch.CONV_LSTM,
    frame: Annotated[
        _Frame,
        typer.Option(help="Axes: the device's own, or turned so that +z is up, told by gait."),
    ] = _Frame.DEVICE,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.tflite and NAME.json.")] = Path("out"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the network's own.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    weights: Annotated[
        _Weights,
        typer.Option(help="Of the .tflite: float, or 8-bit in a third of the size."),
    ] = _Weights.FLOAT,
) -> None:
    """Train a model, export it past all gates, and write it with its card.

    hard-train run --placement pocket --out hard/models
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its notes, not its errors
    from hard_training.export import GateFailed  # noqa: PLC0415 - TensorFlow takes seconds
    from hard_training.models import ARCHITECTURES  # noqa: PLC0415
    from hard_training.produce import produce  # noqa: PLC0415

    epochs = epochs or ARCHITECTURES[arch].epochs
    command = (
        f"hard-train run --placement {placement} --arch {arch} --frame {frame} "
        f"--epochs {epochs} --seed {seed} --weights {weights}"
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("reading the data", total=epochs)

        def on_epoch(epoch: int, share_right: float) -> None:
            text = f"validation people {share_right:.1%} right"
            bar.update(task, completed=epoch, description=text)

        try:
            path, card = produce(
                placement,
                arch,
                data_folder(data),
                out,
                frame=frame.value,
                epochs=epochs,
                seed=seed,
                weights=weights.value,
                command=command,
                on_epoch=on_epoch,
            )
        except (DataMissing, GateFailed, UnusableInput) as error:
            _fail(error)
    typer.echo(f"{path}: {card.identity}, {card.parameters} parameters")
    _print_scores(card.provenance.metrics["test"])
    _print_timeline(card.provenance.metrics["test_timeline"])


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or path of a card.")],
    data: Data = None,
    turned: Annotated[
        _Turned,
        typer.Option(help="Phones as recorded, turned about the vertical, or turned anyhow."),
    ] = _Turned.NO,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model on people it was not trained on, through the runtime of the edge.

    hard-train evaluate pocket --json
    """
    from hard.card import ModelRefused  # noqa: PLC0415 - the runtime takes a moment
    from hard_training.evaluate import evaluate as measure  # noqa: PLC0415

    try:
        found = measure(model, data_folder(data), turned.value)
    except (DataMissing, ModelRefused, UnusableInput) as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{found['model']} on {found['data_set']}, {found['runtime']}")
    _print_scores(found["windows"])
    _print_timeline(found["timeline"])


@app.command(name="measure-upright")
def measure_upright(
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how well gait tells which way is up, on every data set that is there.

    hard-train measure-upright --json
    """
    from hard_training.upright_figures import measure  # noqa: PLC0415 - numpy takes a moment

    try:
        found = measure(data_folder(data))
    except (DataMissing, UnusableInput) as error:
        _fail(error)
    if not found:
        _fail(DataMissing(f"{data_folder(data)}: no data set there; see hard-train datasets"))
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, figures in found.items():
        _print_upright(name, figures)


@app.command()
def datasets(data: Data = None) -> None:
    """List the data sets that can be trained on, who is tested, and where to get them.

    hard-train datasets
    """
    for data_set in DATA_SETS.values():
        typer.echo(f"{data_set.name}: {data_set.title}, {data_set.placement}")
        typer.echo(f"  {'found' if data_set.is_in(data_folder(data)) else data_set.obtain}")
        typer.echo(f"  test subjects {', '.join(map(str, data_set.split.test))}")
        typer.echo(f"  {data_set.licence}")


def _print_scores(scores: dict[str, Any]) -> None:
    low, high = scores["interval_95"]
    typer.echo(
        f"{scores['windows']} windows of {len(scores['people'])} people: {scores['accuracy']:.1%} "
        f"right, mean over people {scores['mean_accuracy']:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}), macro F1 {scores['macro_f1']:.3f}"
    )
    people = ", ".join(f"{person}: {share:.1%}" for person, share in scores["people"].items())
    typer.echo(f"per person: {people}")
    table = Table("label", "windows", "precision", "recall", "F1")
    for label, row in scores["labels"].items():
        shares = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(label, str(row["windows"]), *shares)
    Console(file=sys.stdout).print(table)


def _print_upright(name: str, figures: dict[str, Any]) -> None:
    typer.echo(
        f"{name}: {figures['recordings']} recordings of {figures['people']} people, "
        f"{figures['hours']} h"
    )
    table = Table("label", "minutes", "found as gait", "reference off by, ° (median, 90 %, most)")
    for label, row in figures["gait_share"].items():
        off = ", ".join(map(str, figures["followed"].get(label, [])))
        table.add_row(label, f"{row['minutes']:g}", f"{row['share']:.1%}", off)
    Console(file=sys.stdout).print(table)
    walking, standing = figures["walking"], figures["standing"]
    typer.echo(
        f"walking, each bout from nothing: learned in {walking['learned']} of {walking['bouts']} "
        f"after {walking['after_s']} s, off by {walking['first_deg']}° then and by "
        f"{walking['last_deg']}° in the end (median, 90 %, most)"
    )
    typer.echo(
        f"standing, 10 s or more: calibrated in {standing['calibrated']} of {standing['bouts']} "
        f"after {standing['after_s']} s"
    )


def _print_timeline(timeline: dict[str, Any]) -> None:
    low, high = timeline["interval_95"]
    typer.echo(
        f"timeline, recordings joined per person: {timeline['mean_accuracy']:.1%} of the time "
        f"right (95 % interval {low:.1%} to {high:.1%})"
    )
    people = ", ".join(f"{person}: {share:.1%}" for person, share in timeline["people"].items())
    typer.echo(f"per person: {people}")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
