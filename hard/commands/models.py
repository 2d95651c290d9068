"""`hard models`: which models there are and which is in use, tried, installed, chosen."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hard.commands.configured import configuration_path, default_path, state_kept
from hard.commands.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import BAD_CONFIGURATION, fail, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hard.card import ModelCard
    from hard.config import Settings

__all__ = ["app"]

app = typer.Typer(help="Models: list, verify, install, set.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="A model's name, or the path of its card.")]


@dataclass(frozen=True, slots=True)
class _Model:
    """One model as it is shown; `card` None where `fault` says why."""

    name: str
    origin: str
    path: str
    used_by: tuple[str, ...]
    card: ModelCard | None
    fault: str = ""


@app.command(
    "list",
    epilog="\b\nExamples:\n  hard models list\n  hard models list -c /etc/hard/hard.toml --json",
)
def list_models(config: ConfigOption = None, *, as_json: JsonOption = False) -> None:
    """List the models that came with hard, are installed or are configured."""
    models = _models(config or default_path())
    if as_json:
        for model in models:
            typer.echo(json.dumps(_shown(model)))
    else:
        typer.echo(_table(models))
    if any(model.fault for model in models):
        raise typer.Exit(1)


@app.command(epilog="\b\nExamples:\n  hard models verify\n  hard models verify pocket waist --json")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or paths of cards; none: all there are.")
    ] = None,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Let models compute what their cards say, each in a process of its own."""
    from hard.card import ModelRefused  # noqa: PLC0415
    from hard.classifier import prove  # noqa: PLC0415

    path = config or default_path()
    wanted = [_located(path, name) for name in names or ()]
    failed = False
    for name in wanted or [model.path for model in _models(path)]:
        try:
            told, ok = f"{prove(name)} computes what its card says", True
        except ModelRefused as error:
            told, ok, failed = str(error), False, True
        if as_json:
            typer.echo(json.dumps({"model": name, "ok": ok, "detail": told}))
        else:
            typer.echo(f"{'ok' if ok else 'FAIL':4}  {told}")
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="\b\nExamples:\n"
    "  hard models install own.json\n"
    "  hard models install runs/2026-05-01/\n"
    "  hard models install own.zip --force\n"
    "  hard models install https://example.org/own.zip --sha256 3f2a…"
)
def install(
    source: Annotated[
        str,
        typer.Argument(help="A card with its model beside it, their folder or zip, or a URL."),
    ],
    config: ConfigOption = None,
    *,
    sha256: Annotated[
        str | None, typer.Option(help="What the file's hash must be (hex); a URL needs it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an installed model of its name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Install a model below the state directory, once it has proved itself."""
    from hard.card import ModelRefused, installed_card  # noqa: PLC0415
    from hard.installing import bundle_from, is_url  # noqa: PLC0415
    from hard.installing import install as put_in_place  # noqa: PLC0415
    from hard.proofs import Proofs  # noqa: PLC0415

    path = configuration_path(config)
    folder = _folder(path)
    try:
        with progress("fetching" if is_url(source) else "trying the model") as tell:
            bundle = bundle_from(source, sha256, tell)
            card, is_new = put_in_place(bundle, folder, force=force)
    except ModelRefused as error:
        fail(error)
    Proofs(folder.parent).add(card.sha256)
    there = installed_card(folder, card.name)
    if as_json:
        body = {"model": card.identity, "path": str(there), "is_new": is_new}
        typer.echo(json.dumps(body))
        return
    typer.echo(f"{card.identity}: {'installed as' if is_new else 'is there already:'} {there}")
    typer.echo(f"use it: hard models set {card.name} -c {path}", err=True)


@app.command(
    "set",
    epilog="\b\nExamples:\n  hard models set pocket-upright\n  hard models set own -c hard.toml",
)
def set_model(
    name: NameArgument,
    config: ConfigOption = None,
    *,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Let a running daemon take it up at once.")
    ] = True,
) -> None:
    """Make a model the one that the configuration names; the rest of the file stays as it is."""
    from hard.configfile import UneditableError, with_value  # noqa: PLC0415
    from hard.outputs import written_aside  # noqa: PLC0415

    path = configuration_path(config)
    _prove(path, name)
    try:
        before = path.read_text("utf-8")
        after = with_value(before, "model", "name", _as_written(name))
    except (OSError, ValueError, UneditableError) as error:
        fail(f"{path}: {error}", BAD_CONFIGURATION)
    if after == before:
        typer.echo(f"{path}: has model {name!r} already")
    else:
        _check(path, after)
        try:
            with written_aside(path) as file:
                file.write(after)
        except OSError as error:
            fail(f"{path}: can't be written: {error.strerror}")
        typer.echo(f'{path}: [model] name = "{_as_written(name)}"')
    settings = _settings(path)
    for rule in () if settings is None else settings.streams:
        if rule.model is not None:
            typer.echo(f"note: streams {rule.match!r} have {rule.model!r} still", err=True)
    if reload:
        _reload(path)


# -- what there is -------------------------------------------------------------------------------


def _settings(path: Path | None) -> Settings | None:
    """Return the settings of a configuration; say why not, where it has errors."""
    from hard.config import ConfigError, load  # noqa: PLC0415

    try:
        return load(path).settings
    except ConfigError as error:
        typer.echo(f"{error}\nwhat the configuration uses can't be told", err=True)
        return None


def _models(path: Path | None) -> list[_Model]:
    """Return the bundled, the installed and the configured models, and who uses each."""
    from hard.card import bundled, installed  # noqa: PLC0415
    from hard.config import MODELS  # noqa: PLC0415

    used: dict[str, list[str]] = defaultdict(list)
    settings = _settings(path)
    if settings is not None:
        used[settings.model.name].append("default")
        for rule in settings.streams:
            if rule.model is not None:
                used[rule.model].append(rule.match)
    state = None if path is None else state_kept(path)
    try:
        there = [] if state is None else installed(state / MODELS)
    except OSError as error:
        typer.echo(f"{state}: installed models can't be read: {error.strerror}", err=True)
        there = []
    origins = dict.fromkeys(bundled(), "bundled") | {str(card): "installed" for card in there}
    origins = origins | {name: "configured" for name in used if name not in origins}
    return [_model(name, origin, tuple(used.get(name, ()))) for name, origin in origins.items()]


def _model(name: str, origin: str, used_by: tuple[str, ...]) -> _Model:
    from hard.card import ModelCard, ModelRefused  # noqa: PLC0415

    try:
        card, path = ModelCard.load(name)
    except ModelRefused as error:
        return _Model(Path(name).stem, origin, name, used_by, None, str(error))
    return _Model(card.name, origin, str(path.with_suffix(".json")), used_by, card)


def _shown(model: _Model) -> dict[str, Any]:
    """Return what is told of a model, as JSON has it."""
    body = asdict(model) | {"used_by": list(model.used_by)}
    del body["card"]
    card = model.card
    if card is None:
        return body
    try:
        size = Path(model.path).with_suffix(".tflite").stat().st_size
    except OSError as error:
        size, body["fault"] = 0, f"{error}"
    return body | {
        "identity": card.identity,
        "placement": card.placement,
        "labels": list(card.labels),
        "frame": card.input.frame,
        "gyroscope": card.input.uses_gyro,
        "sampling_rate_hz": card.input.sampling_rate_hz,
        "window_s": card.input.window_samples / card.input.sampling_rate_hz,
        "bytes": size,
        "sha256": card.sha256,
    }


def _table(models: list[_Model]) -> str:
    """Return two lines for each model: what it is and who uses it; what it tells apart."""
    lines = []
    for body in map(_shown, models):
        used = f"  used by {', '.join(body['used_by'])}" if body["used_by"] else ""
        mark = "*" if body["used_by"] else " "
        if "sha256" not in body:
            lines.append(f"{mark} {body['name']}  {body['origin']}{used}\n    {body['fault']}")
            continue
        lines.append(
            f"{mark} {body['name']:15} {body['placement']:7} {body['frame']:8}"
            f"{'accel+gyro' if body['gyroscope'] else 'accel':11}{body['sampling_rate_hz']:g} Hz  "
            f"{body['window_s']:.2f} s {body['bytes'] / 1000:6.0f} kB  {body['sha256'][:8]}  "
            f"{body['origin']}{used}\n    {', '.join(body['labels'])}"
            + (f"\n    {body['fault']}" if body["fault"] else "")
        )
    return "\n".join(lines)


# -- installing and setting ----------------------------------------------------------------------


def _folder(config: Path) -> Path:
    """Return the folder of installed models; exit where the configuration keeps no state."""
    from hard.config import MODELS  # noqa: PLC0415

    state = state_kept(config)
    if state is None:
        fail(f"{config}: hard.state_dir: missing: models are installed below it", BAD_CONFIGURATION)
    return state / MODELS


def _located(config: Path | None, name: str) -> str:
    """Return a model as `ModelCard.load` takes it, though the configuration has errors."""
    from hard.config import MODELS, Settings  # noqa: PLC0415

    state = None if config is None else state_kept(config)
    return name if state is None else Settings().with_models_in(state / MODELS).located(name)


def _as_written(name: str) -> str:
    """Return a model as a configuration is to name it: a path from wherever it is read."""
    from hard.card import is_path  # noqa: PLC0415

    return str(Path(name).absolute()) if is_path(name) else name


def _prove(config: Path, name: str) -> None:
    """Exit unless a model can be used."""
    from hard.card import ModelRefused  # noqa: PLC0415
    from hard.classifier import prove  # noqa: PLC0415

    try:
        prove(_located(config, name))
    except ModelRefused as error:
        fail(error)


def _check(path: Path, text: str) -> None:
    """Exit where a configuration would have errors with this text; nothing is written."""
    from hard.config import ConfigError, checked  # noqa: PLC0415

    try:
        checked(path, text)
    except ConfigError as error:
        fail(f"{error}\nnothing was changed", BAD_CONFIGURATION)


def _reload(path: Path) -> None:
    """Let the daemon take up what is in the file, where one runs."""
    from hard import control  # noqa: PLC0415
    from hard.config import state_folder  # noqa: PLC0415

    try:
        answer: Mapping[str, Any] = control.ask(
            control.places(state_folder(path), path), path, "reload"
        )
    except control.NoDaemonError:
        typer.echo("no daemon runs with it here: it holds from the next start", err=True)
    except control.ControlError as error:
        fail(f"the daemon goes on as before: {error}")
    else:
        for line in (*answer["changed"], *answer["needs_restart"]):
            typer.echo(line)
