"""What a model is made from: a TOML file, checked, and the sweeps that such a file may ask for.

Pure but for reading the file.  Called by the command line and `hard_training.produce`; the
recipes of the bundled models lie in `hard_training/recipes`.

    name = "pocket"                 # of the model: NAME.tflite, NAME.json
    placement = "pocket"
    data_sets = ["motionsense"]     # by their names in `hard-train datasets`
    frame = "upright"

    [network]
    arch = "conv-lstm"
    epochs = 30

    [sweep]                         # every combination is a run of its own
    "network.learning_rate" = [1e-3, 2e-3]
    seed = [0, 1, 2]
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields, replace
from hashlib import blake2b
from importlib import resources
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hard.card import Channel, ModelInput
from hard.decision import DecisionSettings
from hard_training.augmentation import Augmentation  # noqa: TC001 - pydantic evaluates it
from hard_training.front import NEED_UPRIGHT, ChannelSet
from hard_training.models import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hard_training.models import Architecture

__all__ = [
    "Network",
    "Recipe",
    "RecipeError",
    "bundled_recipes",
    "load_recipe",
    "load_sweep",
    "toml_text",
]

_AXES: dict[str, tuple[Channel, ...]] = {
    "accel": ("accel_x", "accel_y", "accel_z"),
    "accel+gyro": ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"),
}

Positive = Annotated[int, Field(ge=1)]


class RecipeError(Exception):
    """A recipe is wrong; the message names the file, the key and what is expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Network(_Strict):
    """A network by name; what is None is the network's own (`hard_training.models`)."""

    arch: str = "conv-lstm"
    epochs: Positive | None = None
    patience: Annotated[int, Field(ge=0)] | None = None
    batch_windows: Positive | None = None
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    filters: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=5)] | None = None
    lstm_units: Positive | None = None
    front: tuple[ChannelSet, ...] | None = None
    balanced: Annotated[float, Field(ge=0, le=1)] | None = None
    often: dict[str, Annotated[float, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.arch not in ARCHITECTURES:
            raise ValueError(
                f"arch: no network {self.arch!r}; there are {', '.join(ARCHITECTURES)}"
            )
        own = ARCHITECTURES[self.arch]
        for key in ("filters", "dropout", "lstm_units"):
            if getattr(self, key) is not None and not getattr(own, key):
                raise ValueError(f"{key}: the network {self.arch!r} has none")
        return self

    @property
    def architecture(self) -> Architecture:
        """The network with what is set here in place of its own."""
        own = ARCHITECTURES[self.arch]
        known = {field.name for field in fields(own)}
        changed = {key: value for key, value in self if key in known and value is not None}
        return replace(own, **changed)


class Recipe(_Strict):
    """All that one model depends on, but the data.

    `labels` empty: those of the first data set; `augmentation` None: that of the first data set's
    placement, reduced to what the upright frame leaves open where that is the frame; `decision`
    goes into the card: the defaults of `[decision]` that suit this model.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    placement: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    data_sets: tuple[str, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    channels: Literal["accel+gyro", "accel"] = "accel+gyro"
    frame: Literal["device", "upright"] = "device"
    weights: Literal["float", "float16", "dynamic-range", "int8"] = "float"
    seed: int = Field(default=0, ge=0)
    network: Network = Network()
    augmentation: Augmentation | None = None
    decision: dict[str, float] = {}

    @field_validator("decision")
    @classmethod
    def _check_decision(cls, decision: dict[str, float]) -> dict[str, float]:
        DecisionSettings.model_validate(decision)
        return decision

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.frame != "upright":
            upright = [name for name in self.network.front or () if name in NEED_UPRIGHT]
            if upright:
                raise ValueError(
                    f'network.front: {", ".join(upright)}: +z taken for up needs frame = "upright"'
                )
        return self

    @property
    def input(self) -> ModelInput:
        """What the model wants to be fed: 128 samples at 50 Hz, a window every 1.28 s."""
        return ModelInput(
            channels=_AXES[self.channels],
            sampling_rate_hz=50,
            window_samples=128,
            stride_samples=64,
            frame=self.frame,
        )

    @property
    def digest(self) -> str:
        """Eight hex digits that tell recipes apart."""
        return blake2b(self.model_dump_json().encode(), digest_size=4).hexdigest()

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe with other values by dotted key (`network.epochs`).

        Raises ValueError, pydantic's, where one can't be.
        """
        table = json.loads(self.model_dump_json())
        for key, value in settings.items():
            section, _, name = key.rpartition(".")
            within = table
            if section:
                within = table.get(section)
                if not isinstance(within, dict):
                    raise ValueError(f"{key}: there is no table [{section}] to set it in")
            within[name] = value
        return _checked(table)


def _checked(table: dict[str, Any]) -> Recipe:
    # As JSON, because TOML's arrays are lists where a tuple is meant.
    return Recipe.model_validate_json(json.dumps(table, default=str))


def bundled_recipes() -> dict[str, Path]:
    """Return the recipes of the bundled models, by name."""
    folder = Path(str(resources.files("hard_training") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(path: Path, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe in a file, with `settings` by dotted key in place of its own.

    Raises `RecipeError`, for a file with a sweep too.
    """
    recipes = load_sweep(path, settings)
    if len(recipes) != 1:
        raise RecipeError(f"{path}: sweep: {len(recipes)} runs where one is wanted")
    return recipes[0][1]


def load_sweep(
    path: Path, settings: Mapping[str, Any] | None = None
) -> list[tuple[dict[str, Any], Recipe]]:
    """Return what each run of a file sets, and its recipe; one and nothing without a sweep.

    Raises `RecipeError` naming the file and every key at fault.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    sweep = table.pop("sweep", {})
    if not isinstance(sweep, dict):
        raise RecipeError(f"{path}: sweep: must be a table of lists")
    for key, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise RecipeError(f"{path}: sweep.{key}: must be a list of values to try")
    try:
        base = _checked(table).with_settings(settings or {})
        runs = [dict(zip(sweep, values, strict=True)) for values in product(*sweep.values())]
        return [(run, base.with_settings(run)) for run in runs]
    except ValidationError as error:
        raise RecipeError(f"{path}: {_faults(error)}") from error
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from error


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {fault['msg']}"
        for fault in error.errors()
    )


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(k)} = {v}' for k, v in value.items())} }}"
    return json.dumps(value)


def toml_text(recipe: Recipe) -> str:
    """Return the recipe as TOML that loads as the same recipe."""
    table = json.loads(recipe.model_dump_json(exclude_none=True))
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for section in (key for key in table if key not in plain):
        lines += ["", f"[{section}]"]
        lines += [f"{key} = {_toml_value(value)}" for key, value in table[section].items()]
    return "\n".join(lines) + "\n"
