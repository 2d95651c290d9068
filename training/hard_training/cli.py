"""The command `hard-train`: reads arguments, shows progress, prints results.

Every heavy import happens inside a command; `evaluate` never loads TensorFlow.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from hard.api import UnusableInput
from hard_training import run_commands
from hard_training.datasets import DataMissing, data_folder, data_set_named
from hard_training.evaluation.commands import app as measuring
from hard_training.evaluation.commands import (
    in_brief,
    looked_at_test_people,
    where_looks_are_logged,
)

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train, export and measure the models of hard.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(run_commands.app)
app.add_typer(measuring)  # crossval, transfer, stress, streaming, report

Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the data sets as downloaded; default $HARD_DATA, else ../shared/data."
    ),
]


class _Turned(StrEnum):
    NO = "no"
    HEADING = "heading"
    ANY = "any"


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"hard-train: {error}", err=True)
    raise typer.Exit(1) from error


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or path of a card.")],
    data: Data = None,
    turned: Annotated[
        _Turned,
        typer.Option(help="Phones as recorded, turned about the vertical, or turned anyhow."),
    ] = _Turned.NO,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Folder of test-openings.jsonl, which says how often test people were looked at; "
            "default beside the card, out/ for a bundled model."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model on the official test people, through the runtime of the edge; logged.

    hard-train evaluate pocket --json
    """
    from hard.card import ModelRefused  # noqa: PLC0415 - the runtime takes a moment
    from hard_training.evaluate import evaluate as measure  # noqa: PLC0415

    try:
        found = measure(model, data_folder(data), turned.value)
    except (DataMissing, ModelRefused, UnusableInput) as error:
        _fail(error)
    looked_at_test_people(
        log or where_looks_are_logged(model),
        found["model"],
        found["data_set"],
        in_brief(found["windows"]),
    )
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
def datasets(
    data: Data = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PLACEMENT]",
            help="Read all of one instead: what is in it, and what is wrong with it, counted.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the data sets: licence, people, classes, placement, rate, units, and whether it's there.

    hard-train datasets --json
    """
    from hard_training.checking import check as read_all  # noqa: PLC0415 - numpy takes a moment
    from hard_training.checking import listed  # noqa: PLC0415

    if check is None:
        rows = listed(data_folder(data))
        if as_json:
            typer.echo(json.dumps(rows))
        else:
            for row in rows:
                _print_data_set(row)
        return
    try:
        found = read_all(data_set_named(check), data_folder(data))
    except DataMissing as error:
        _fail(error)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, value in found.items():
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {n}" for key, n in value.items()) or "none"
        typer.echo(f"{name}: {shown}")


def _print_data_set(row: dict[str, Any]) -> None:
    people = f"{row['people']} people, {row['rate_hz']} Hz, " if row["people"] else ""
    also = f"; also {', '.join(row['more_labels'])}" if row["more_labels"] else ""
    where = f"found: {row['found']}" if row["found"] else f"not there: {row['obtain']}"
    whose = "official split" if row["official_split"] else "split of ours"
    typer.echo(f"{row['name']}: {row['title']}; worn at {', '.join(row['placements'])}")
    typer.echo(f"  {people}{row['units']}")
    typer.echo(f"  {', '.join(row['labels'])}{also}")
    typer.echo(f"  licence: {row['licence']}; cite {row['cite']}")
    if row["test_people"]:
        typer.echo(f"  {whose}, test people {', '.join(map(str, row['test_people']))}")
    typer.echo(f"  {where}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Of a data set, as hard-train datasets lists it.")],
    data: Data = None,
) -> None:
    """Download a data set from its authors' address; goes on where it was interrupted.

    hard-train fetch motionsense --data recordings
    """
    from hard_training.fetch import FetchFailed  # noqa: PLC0415 - urllib takes a moment
    from hard_training.fetch import fetch as download  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        try:
            data_set = data_set_named(name)
            task = bar.add_task(data_set.name, total=None)

            def on_progress(n_bytes: int, total_bytes: int | None) -> None:
                bar.update(task, completed=n_bytes, total=total_bytes)

            found = download(data_set, data_folder(data), on_progress)
        except (DataMissing, FetchFailed) as error:
            _fail(error)
    typer.echo(f"{found.path}: {'was there already' if found.already else 'downloaded'}")
    if found.sha256:
        typer.echo(f"sha256 {found.sha256}")
    typer.echo(f"its licence: {data_set.licence}", err=True)


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
