"""The commands of `hard-train` that say what a model or a recipe is worth.

Reads arguments, shows progress, prints tables; every heavy import happens inside a command.  Part
of `hard_training.cli`'s app.
"""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hard.api import UnusableInput
from hard.card import ModelRefused
from hard_training.datasets import (
    DATA_SETS,
    DataMissing,
    data_folder,
    data_set_named,
    for_placement,
)
from hard_training.recipe import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hard.card import ModelInput
    from hard_training.datasets import DataSet, Recording
    from hard_training.evaluation.crossval import Folds, OnStep
    from hard_training.evaluation.trials import Plan
    from hard_training.recipe import Recipe
    from hard_training.windows import GridRecording

__all__ = ["app", "in_brief", "looked_at_test_people", "where_looks_are_logged"]

app = typer.Typer()

Data = Annotated[
    Path | None,
    typer.Option(help="Folder with the data sets; default $HARD_DATA, else ../shared/data."),
]
Learners = Annotated[
    str, typer.Option(help="By name, separated by commas: networks and baselines.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Default: each network's own.")]
Seed = Annotated[int, typer.Option(min=0)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Model = Annotated[str, typer.Argument(help="Name of a bundled model, or path of a card.")]
OpenTest = Annotated[
    bool, typer.Option("--open-test", help="Use the official test people too, and log that.")
]
Out = Annotated[Path, typer.Option(help="Folder for what is kept between runs, and the log.")]
OfRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Bundled recipe by name, or a TOML file: its channels, frame, augmentation and seed "
        "hold, and its network is a learner named recipe.",
    ),
]
_ALL_LEARNERS = "conv-lstm,tutorial,random-forest,knn"
_FAILURES = (DataMissing, ModelRefused, RecipeError, UnusableInput, ValueError)


class _Channels(StrEnum):
    BOTH = "accel+gyro"
    ACCEL = "accel"


class _Frame(StrEnum):
    DEVICE = "device"
    UPRIGHT = "upright"


class _Classes(StrEnum):
    SHARED = "shared"
    TRAIN = "train"


@app.command()
def crossval(
    data_set: Annotated[str, typer.Option(help="NAME or NAME:PLACEMENT; see hard-train datasets.")],
    learners: Learners = _ALL_LEARNERS,
    recipe: OfRecipe = None,
    folds: Annotated[
        str,
        typer.Option(
            help="Groups of people, 'loso' (one person at a time), or 'official', which tests on "
            "the official test people and is logged."
        ),
    ] = "5",
    leaky: Annotated[
        bool, typer.Option("--leaky", help="Show a random split of windows beside it.")
    ] = False,
    labels: Annotated[
        int | None, typer.Option(help="How many labels: the usual ones, or all that occur.")
    ] = None,
    channels: _Channels = _Channels.BOTH,
    frame: _Frame = _Frame.DEVICE,
    epochs: Epochs = None,
    seed: Seed = 0,
    data: Data = None,
    out: Out = Path("out/crossval"),
    as_json: AsJson = False,
) -> None:
    """Compare learners, each person tested by a model that never saw them.

    hard-train crossval --data-set hapt --learners tutorial --leaky
    """
    from hard_training.evaluation import crossval as module  # noqa: PLC0415 - numpy takes a moment
    from hard_training.evaluation.tables import crossval_text  # noqa: PLC0415

    try:
        chosen, names = data_set_named(data_set), _known(learners, recipe)
        dealt = _folds(folds)
        base = _recipe(recipe, channels, frame, seed)
        plan = _plan(base, chosen, _labels(chosen, labels), epochs)
        with _progress(f"reading {chosen.title}") as on_step:
            opened, folder = dealt == "official", data_folder(data)
            material = module.Material.read(chosen, folder, plan.labels, plan.input, opened=opened)
            found = module.crossval(
                chosen,
                material,
                names,
                plan,
                folds=dealt,
                leaky=leaky,
                store=out,
                on_step=on_step,
            )
    except _FAILURES as error:
        _fail(error)
    found |= _provenance()
    if dealt == "official":
        figures = {row["learner"]: in_brief(row) for row in found["rows"]}
        looked_at_test_people(out, _settings_hash(found), chosen.name, figures)
    typer.echo(json.dumps(found) if as_json else crossval_text(found))


@app.command()
def transfer(
    train: Annotated[str, typer.Option(help="Data sets to learn from, separated by commas.")],
    test: Annotated[str, typer.Option(help="Data set to test on.")],
    learners: Learners = _ALL_LEARNERS,
    recipe: OfRecipe = None,
    classes: Annotated[
        _Classes, typer.Option(help="Tell apart what both sets have, or all the first has.")
    ] = _Classes.SHARED,
    channels: _Channels = _Channels.BOTH,
    frame: _Frame = _Frame.UPRIGHT,
    epochs: Epochs = None,
    seed: Seed = 0,
    open_test: OpenTest = False,
    data: Data = None,
    out: Out = Path("out/transfer"),
    as_json: AsJson = False,
) -> None:
    """Learn on data sets, test on another; postures count as one label, still.

    hard-train transfer --train motionsense --test hapt
    """
    from hard_training.evaluation import transfer as module  # noqa: PLC0415 - numpy takes a moment
    from hard_training.evaluation.crossval import Material, windows_read  # noqa: PLC0415
    from hard_training.evaluation.tables import transfer_text  # noqa: PLC0415

    try:
        own = [data_set_named(name.strip()) for name in train.split(",")]
        other = data_set_named(test)
        names, base = _known(learners, recipe), _recipe(recipe, channels, frame, seed)
        plan = _plan(base, own[0], module.classes_for(own, other, classes.value), epochs)
        folder = data_folder(data)
        with _progress(f"reading {train} and {test}") as on_step:
            learned_from = [
                (one, Material.read(one, folder, plan.labels, plan.input)) for one in own
            ]
            tested_on = windows_read(other, folder, plan.labels, plan.input, opened=open_test)
            found = module.transfer(
                learned_from, (other, tested_on), names, plan, store=out, on_step=on_step
            )
    except _FAILURES as error:
        _fail(error)
    found |= _provenance()
    if open_test:
        figures = {row["learner"]: in_brief(row) for row in found["rows"]}
        looked_at_test_people(out, _settings_hash(found), other.name, figures)
    typer.echo(json.dumps(found) if as_json else transfer_text(found))


@app.command()
def stress(
    model: Model, data: Data = None, open_test: OpenTest = False, as_json: AsJson = False
) -> None:
    """Measure a model where phone, rate, sensor, people or motion are otherwise.

    hard-train stress pocket --json
    """
    from hard.classifier import TFLiteClassifier  # noqa: PLC0415 - the runtime takes a moment
    from hard_training.evaluation.stress import stress as measure  # noqa: PLC0415
    from hard_training.evaluation.tables import stress_text  # noqa: PLC0415

    try:
        classifier = TFLiteClassifier.load(model)
        own = for_placement(classifier.card.placement)
        folder = data_folder(data)
        with _progress("reading the data") as on_step:
            recordings = _held_out(own, folder, opened=open_test)
            others = {
                f"{other.name} ({other.placement})": _on_grid(
                    other, folder, classifier.card.input, opened=open_test
                )
                for other in DATA_SETS.values()
                if other.is_in(folder) and other.title not in _learned_from(model)
            }
            found = measure(classifier, recordings, others, on_step)
    except _FAILURES as error:
        _fail(error)
    found |= {"data_set": own.name, "people": _whom(open_test), **_provenance()}
    if open_test:
        looked_at_test_people(
            where_looks_are_logged(model), found["model"], own.name, in_brief(found["rows"][0])
        )
    typer.echo(json.dumps(found) if as_json else stress_text(found))


@app.command()
def streaming(
    model: Model,
    tolerance_s: Annotated[
        float, typer.Option("--tolerance", min=0, help="Seconds that an onset may be off by.")
    ] = 3.0,
    data: Data = None,
    open_test: OpenTest = False,
    as_json: AsJson = False,
) -> None:
    """Measure events, not windows: whole recordings through the daemon's pipeline.

    hard-train streaming waist --tolerance 3
    """
    from hard.classifier import TFLiteClassifier  # noqa: PLC0415 - the runtime takes a moment
    from hard_training.evaluation.streaming import streaming as measure  # noqa: PLC0415
    from hard_training.evaluation.tables import streaming_text  # noqa: PLC0415

    try:
        classifier = TFLiteClassifier.load(model)
        own = for_placement(classifier.card.placement)
        with _progress("reading the data") as on_step:
            recordings = _held_out(own, data_folder(data), opened=open_test)
            of_person: dict[int, list[Recording]] = {}
            for recording in sorted(recordings, key=lambda recording: recording.order):
                of_person.setdefault(recording.person, []).append(recording)
            found = measure(classifier, of_person, tolerance_s, on_step)
    except _FAILURES as error:
        _fail(error)
    found |= {"data_set": own.name, "people": _whom(open_test), **_provenance()}
    if open_test:
        right = {row["decision"]: row["right_known"] for row in found["rows"]}
        looked_at_test_people(where_looks_are_logged(model), found["model"], own.name, right)
    typer.echo(json.dumps(found) if as_json else streaming_text(found))


@app.command()
def report(
    model: Annotated[
        str, typer.Argument(help="Folder of a run, path of a card, or name of a bundled model.")
    ],
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="The page; default report.html in the folder.")
    ] = None,
) -> None:
    """Write all that is known of a model on one page, with its figures beside it.

    hard-train report out --out report.html
    """
    from hard_training.evaluation.report import write_report  # noqa: PLC0415 - matplotlib is slow

    try:
        with _progress("measuring") as on_step:
            page = write_report(_subject(model), data=data_folder(data), out=out, on_step=on_step)
    except _FAILURES as error:
        _fail(error)
    typer.echo(str(page))


def looked_at_test_people(folder: Path, what: str, data_set: str, figures: dict[str, Any]) -> None:
    """Log that figures of official test people are shown, and say how often that was."""
    from hard_training.evaluation.openings import FILE_NAME, log_opening  # noqa: PLC0415

    times = log_opening(folder, _command(), what, data_set, figures)
    typer.echo(
        f"hard-train: the official test people of {data_set} were opened {times} "
        f"{'time' if times == 1 else 'times'} so far ({folder / FILE_NAME})",
        err=True,
    )


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"hard-train: {error}", err=True)
    raise typer.Exit(1) from error


@contextmanager
def _progress(text: str) -> Iterator[OnStep]:
    """Show a bar on a terminal, nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda said, share: bar.update(task, completed=share, description=said)


def _known(learners: str, recipe: str | None) -> list[str]:
    from hard_training.evaluation.trials import OF_THE_RECIPE  # noqa: PLC0415
    from hard_training.learners import LEARNERS  # noqa: PLC0415 - numpy takes a moment

    names = [name.strip() for name in learners.split(",") if name.strip()]
    if recipe and OF_THE_RECIPE not in names:
        names.insert(0, OF_THE_RECIPE)
    known = [*([OF_THE_RECIPE] if recipe else []), *LEARNERS]
    strangers = [name for name in names if name not in known]
    if strangers or not names:
        raise ValueError(
            f"--learners {learners!r}: no learner {', '.join(strangers) or 'named'}; there are "
            f"{', '.join(known)}"
        )
    return names


def _folds(text: str) -> Folds:
    if text == "loso":
        return "loso"
    if text == "official":
        return "official"
    if text.isdecimal() and int(text) >= 2:
        return int(text)
    raise ValueError(f"--folds {text!r}: give a number from 2 on, loso or official")


def _labels(data_set: DataSet, count: int | None) -> tuple[str, ...]:
    sets = {len(labels): labels for labels in (data_set.all_labels, data_set.labels)}
    if count is None:
        return data_set.labels
    if count not in sets:
        known = " or ".join(map(str, sorted(sets)))
        raise ValueError(f"--labels {count}: {data_set.title} has {known}")
    return sets[count]


def _recipe(named: str | None, channels: _Channels, frame: _Frame, seed: int) -> Recipe:
    """Return the recipe by its name or file, else what the options say of one."""
    from hard_training.recipe import Recipe, bundled_recipes, load_recipe  # noqa: PLC0415

    if named is not None:
        return load_recipe(bundled_recipes().get(named, Path(named)))
    # Windows as every model's, whatever else its recipe says.
    return Recipe(
        name="any",
        placement="any",
        data_sets=("any",),
        channels=channels.value,
        frame=frame.value,
        seed=seed,
    )


def _plan(base: Recipe, own: DataSet, labels: Sequence[str], epochs: int | None) -> Plan:
    from hard_training.evaluation.trials import Plan, augmentation_for  # noqa: PLC0415

    return Plan(
        tuple(labels),
        base.input,
        base.augmentation or augmentation_for(own.augmentation, base.input),
        epochs,
        base.seed,
        base.network.architecture,
    )


def _on_grid(
    data_set: DataSet, folder: Path, wanted: ModelInput, *, opened: bool
) -> list[GridRecording]:
    """Return everybody's recordings; without `opened` but the official test people's."""
    from hard_training.cache import cached_grid  # noqa: PLC0415 - as above

    split = data_set.split
    found = cached_grid(data_set, folder, wanted).recordings
    return [r for r in found if opened or split.part(r.person) != "test"]


def _held_out(data_set: DataSet, folder: Path, *, opened: bool) -> list[Recording]:
    """Return the validation people's recordings, or the official test people's."""
    part = "test" if opened else "validation"
    return [r for r in data_set.recordings(folder) if data_set.split.part(r.person) == part]


def _whom(opened: bool) -> str:
    return "official test people" if opened else "validation people"


def _learned_from(model: str) -> Sequence[str]:
    from hard.card import ModelCard  # noqa: PLC0415 - as above

    return ModelCard.load(model)[0].provenance.data_sets


def where_looks_are_logged(model: str) -> Path:
    """Return the folder of a card; a bundled model's looks are logged in out/."""
    path = Path(model)
    return path.parent if path.suffix or len(path.parts) > 1 else Path("out")


def _subject(model: str) -> Path:
    """Return what a report is about: a folder, or a card's path."""
    from hard.card import ModelCard  # noqa: PLC0415 - as above

    path = Path(model)
    return path if path.exists() else ModelCard.load(model)[1].with_suffix(".json")


def in_brief(row: dict[str, Any]) -> dict[str, Any]:
    """Return of a row of scores what a log line needs."""
    return {
        name: row[name]
        for name in ("windows", "accuracy", "mean_accuracy", "interval_95", "macro_f1")
        if name in row
    }


def _settings_hash(found: dict[str, Any]) -> str:
    from hashlib import blake2b  # noqa: PLC0415 - only for a log line

    of_the_outcome = {"rows", "anchors", "command", "versions"}
    settings = {key: value for key, value in found.items() if key not in of_the_outcome}
    return blake2b(json.dumps(settings).encode(), digest_size=8).hexdigest()


def _command() -> str:
    return shlex.join(["hard-train", *sys.argv[1:]])


def _provenance() -> dict[str, Any]:
    """Return what a reader needs to get the same figures: the command and the versions."""
    from hard_training.evaluation.provenance import versions  # noqa: PLC0415 - as above

    return {"command": _command(), "versions": versions()}
