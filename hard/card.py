"""The model card: NAME.json beside NAME.tflite says all that the daemon must know of a model.

Pure data and its checks; the classifier loads the model itself.  Configuration cannot contradict
a card.  Training writes cards, conditioning, windowing, classifier and decision read them.
"""

from __future__ import annotations

import contextlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hard.api import NS_PER_S

__all__ = [
    "STILL",
    "TRAITS",
    "Channel",
    "Golden",
    "ModelCard",
    "ModelInput",
    "ModelRefused",
    "Provenance",
    "Usual",
    "bundled",
    "installed",
    "installed_card",
    "is_bundled",
    "is_path",
    "others_beside",
]

Channel = Literal["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
Probability = Annotated[float, Field(ge=0, le=1)]


class ModelRefused(Exception):  # noqa: N818 - a verdict on a file, told to its owner
    """The model or its card can't be used; the message names the file, the fault, the remedy."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


STILL = "still"
"""Resting, in a posture that is not known."""

TRAITS = (
    "log_spread",
    "log_magnitude_spread",
    "log_turn",
    "roughness",
    "mean_magnitude",
    "log_peak",
    "log_gyro",
    "log_gyro_mean",
    "gyro_roughness",
)
"""Traits of a window's signal (`hard.novelty`); the last three with a gyroscope only."""


class ModelInput(_Model):
    """What a model wants to be fed: windows of `window_samples` x `channels`.

    Accelerometer in m/s² including gravity, Android frame (the axis that points up reads +9.81 at
    rest), gyroscope in rad/s.  `frame` "device": the device's own axes; "upright": turned so that
    +z is up, any heading (`hard.upright`).
    """

    channels: tuple[Channel, ...]
    sampling_rate_hz: float = Field(ge=1, le=1000)
    window_samples: int = Field(ge=8, le=4096)
    stride_samples: int = Field(ge=1, le=4096)
    min_rate_hz: float = Field(default=20.0, gt=0)
    frame: Literal["device", "upright"] = "device"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if NS_PER_S % self.sampling_rate_hz:
            raise ValueError("1 / sampling_rate_hz must be a whole number of nanoseconds")
        if self.frame == "upright" and self.sampling_rate_hz < 20:
            raise ValueError("frame upright is learned from gait, which takes 20 Hz or more")
        accel, gyro = self.channels[:3], self.channels[3:]
        if accel != ("accel_x", "accel_y", "accel_z") or gyro not in (
            (),
            ("gyro_x", "gyro_y", "gyro_z"),
        ):
            raise ValueError("channels must be accel_x, accel_y, accel_z[, gyro_x, gyro_y, gyro_z]")
        return self

    @property
    def period_ns(self) -> int:
        """The grid's period: grid point k lies at k * period_ns since the epoch."""
        return int(NS_PER_S / self.sampling_rate_hz)

    @property
    def uses_gyro(self) -> bool:
        """Whether the model needs a gyroscope."""
        return len(self.channels) > 3


class Golden(_Model):
    """A window (synthetic, window_samples x channels) and the graph's output for it."""

    window: tuple[tuple[float, ...], ...]
    output: tuple[Probability, ...]
    tolerance: float = Field(default=0.005, gt=0, lt=0.1)


class Usual(_Model):
    """What the signal of known windows looks like, label by label: `hard.novelty`.

    `means` and `precisions` are those of the traits, in their order; a window further than
    `max_distance` (Mahalanobis, squared) from every label's, or in which gravity turns by more
    than `max_turn_deg`, is like none of them.
    """

    traits: tuple[str, ...]
    means: tuple[tuple[float, ...], ...]
    precisions: tuple[tuple[tuple[float, ...], ...], ...]
    max_distance: float = Field(gt=0)
    max_turn_deg: float = Field(gt=0)


class Provenance(_Model):
    """Where the model comes from and what it was measured to do."""

    data_sets: tuple[str, ...]
    licence: str
    subjects: dict[str, tuple[int, ...]]
    split: str
    metrics: dict[str, Any]
    command: str
    created: str
    versions: dict[str, str]


class ModelCard(_Model):
    """The card of one model.

    `temperature` divides the logits (Guo et al. 2017, "On Calibration of Modern Neural
    Networks"); `thresholds` are per-label probabilities below which a label is not entered;
    `transitions` is the row-stochastic matrix between labels from one stride to the next, of which
    the decision layer takes where a label leads, not how soon; `decision` are the defaults of its
    settings that suit this model, `usual` what its training windows look like.
    """

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str
    placement: str
    labels: tuple[str, ...] = Field(min_length=2)
    postures: tuple[str, ...] = ()
    input: ModelInput
    architecture: str
    parameters: int = Field(gt=0)
    temperature: float = Field(default=1.0, gt=0.05, lt=20)
    thresholds: dict[str, Probability] = {}
    transitions: tuple[tuple[Probability, ...], ...] | None = None
    decision: dict[str, float] = {}
    usual: Usual | None = None
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    golden: Golden
    provenance: Provenance

    @property
    def states(self) -> tuple[str, ...]:
        """What a stream can be said to do: the labels, and `still` where postures are among them.

        Before it is known which way is up, and of a device that lies still as a table, no posture
        can be told.
        """
        return (*self.labels, STILL) if self.postures else self.labels

    @model_validator(mode="after")
    def _check(self) -> Self:
        n = len(self.labels)
        if len(set(self.labels)) != n:
            raise ValueError("labels must differ")
        if not all(self.labels) or "unknown" in self.labels:
            raise ValueError('labels must not be empty nor "unknown": that is the daemon\'s own')
        strangers = (set(self.postures) | set(self.thresholds)) - set(self.labels)
        if strangers:
            raise ValueError(f"postures and thresholds name no label: {sorted(strangers)}")
        if self.transitions is not None and (
            len(self.transitions) != n
            or any(len(row) != n or abs(sum(row) - 1) > 1e-3 for row in self.transitions)
        ):
            raise ValueError(f"transitions must be {n} rows of {n} probabilities that sum to 1")
        rows, columns = self.input.window_samples, len(self.input.channels)
        if len(self.golden.window) != rows or any(len(r) != columns for r in self.golden.window):
            raise ValueError(f"golden.window must be {rows} x {columns}")
        if len(self.golden.output) != n:
            raise ValueError(f"golden.output must have {n} values")
        if self.usual is not None:
            _check_usual(self.usual, n, uses_gyro=self.input.uses_gyro)
        return self

    @property
    def identity(self) -> str:
        """Name and hash, as events carry it: pocket@3f2a9c1d."""
        return f"{self.name}@{self.sha256[:8]}"

    @classmethod
    def load(cls, name_or_path: str | Path) -> tuple[ModelCard, Path]:
        """Return the card and the path of its .tflite.

        `name_or_path` is the name of a bundled model, or the path of a card or of the .tflite
        beside it.  Raises `ModelRefused` for a missing or malformed card.
        """
        path = _card_path(name_or_path)
        try:
            if path.exists() and not path.is_file():
                raise ModelRefused(f"{path}: no regular file: name a model card")
            card = cls.model_validate(json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise ModelRefused(
                f"{path}: no model card there ({error.strerror}); bundled models: "
                f"{', '.join(bundled()) or 'none'}; those that are installed: hard models list"
            ) from error
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()
            )
            raise ModelRefused(f"{path}: not a valid model card: {faults}") from error
        except (ValueError, RecursionError) as error:
            raise ModelRefused(f"{path}: not a model card (JSON): {error}") from error
        return card, path.with_suffix(".tflite")


def _check_usual(usual: Usual, labels: int, *, uses_gyro: bool) -> None:
    """Raise ValueError unless the traits are those that are looked at, told of every label."""
    traits = TRAITS if uses_gyro else TRAITS[:-3]
    if usual.traits != traits:
        raise ValueError(f"usual.traits must be {', '.join(traits)}")
    n = len(traits)
    if len(usual.means) != labels or any(len(row) != n for row in usual.means):
        raise ValueError(f"usual.means must be {labels} rows of {n} traits")
    if len(usual.precisions) != labels or any(
        len(matrix) != n or any(len(row) != n for row in matrix) for matrix in usual.precisions
    ):
        raise ValueError(f"usual.precisions must be {labels} matrices of {n} x {n}")


def _models_folder() -> Path:
    return Path(str(resources.files("hard") / "models"))


def bundled() -> list[str]:
    """Return the names of the models that came with the package."""
    return sorted(p.stem for p in _models_folder().glob("*.json"))


def is_bundled(name_or_path: str | Path) -> bool:
    """Tell whether a model came with the package, whose files are its installer's to answer for."""
    return _card_path(name_or_path).parent == _models_folder()


def is_path(name: str) -> bool:
    """Tell whether a model is given by its path: with a folder or an ending."""
    return Path(name).suffix in {".json", ".tflite"} or len(Path(name).parts) > 1


def installed_card(folder: Path, name: str) -> Path:
    """Return the card of a model in a folder of installed ones, there or not."""
    return folder / name / f"{name}.json"


def installed(folder: Path | None) -> list[Path]:
    """Return the cards of the models in a folder of installed ones, which may be missing.

    Raises OSError where it can't be read.
    """
    if folder is None:
        return []
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    cards = (installed_card(folder, name) for name in names)
    return [card for card in cards if card.is_file()]


def others_beside(name_or_path: str | Path, folder: Path | None) -> list[str]:
    """Return the models there are: bundled, beside a card, and installed in `folder`.

    Each as `ModelCard.load` takes it.
    """
    card = _card_path(name_or_path)
    beside = [] if card.parent == _models_folder() else sorted(card.parent.glob("*.json"))
    with contextlib.suppress(OSError):  # of no use then
        beside += installed(folder)
    whole = (path for path in dict.fromkeys(beside) if path.with_suffix(".tflite").is_file())
    return [*bundled(), *map(str, whole)]


def _card_path(name_or_path: str | Path) -> Path:
    given = Path(name_or_path)
    if is_path(str(name_or_path)):
        return given.with_suffix(".json")
    return _models_folder() / f"{given.name}.json"
