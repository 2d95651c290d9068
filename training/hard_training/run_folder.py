"""The folder of one training run: what lies in it, and how it is written.

    recipe.toml        what was asked for, complete: `hard-train run --config` makes it again
    checkpoint.npz     while training: where to go on
    NAME.tflite, NAME.json     the model and its card
    NAME.weights.npz   the network before conversion, for `hard-train personalize`
    history.json       one object per epoch
    predictions.npz    of the validation windows: probs, label, person, recording
    figures.json       everything measured; written last: a run that has it is finished

Every file is written aside and renamed.  Called by `hard_training.produce`, read by reports.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from hard_training.recipe import toml_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hard_training.learners import Epoch
    from hard_training.recipe import Recipe
    from hard_training.windows import LabelledWindows

__all__ = ["RunFolder"]


class RunFolder:
    """One run's folder, named after its recipe: the same recipe finds the same folder again."""

    def __init__(self, runs: Path, recipe: Recipe) -> None:
        """Name the folder; nothing is written yet."""
        self.path = runs / f"{recipe.name}-{recipe.digest}"
        self.recipe = recipe

    @property
    def checkpoint(self) -> Path:
        """Where an unfinished training left off."""
        return self.path / "checkpoint.npz"

    @property
    def weights(self) -> Path:
        """The network before conversion."""
        return self.path / f"{self.recipe.name}.weights.npz"

    @property
    def card(self) -> Path:
        """The model's card; the .tflite lies beside it."""
        return self.path / f"{self.recipe.name}.json"

    def figures(self) -> dict[str, Any] | None:
        """Return what was measured, None where the run is not finished."""
        try:
            found: dict[str, Any] = json.loads((self.path / "figures.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        return found

    def begin(self, *, fresh: bool) -> None:
        """Write the recipe; with `fresh`, forget what an earlier run of it left."""
        self.path.mkdir(parents=True, exist_ok=True)
        if fresh:
            self.checkpoint.unlink(missing_ok=True)
        (self.path / "figures.json").unlink(missing_ok=True)
        self._write("recipe.toml", toml_text(self.recipe))

    def write_training(
        self,
        history: Sequence[Epoch],
        validation: LabelledWindows,
        probs: NDArray[np.float64],
    ) -> None:
        """Write the epochs and what the finished model says of the validation windows."""
        self._write("history.json", json.dumps([asdict(epoch) for epoch in history], indent=1))
        aside = self.path / ".predictions.npz.part"
        with aside.open("wb") as file:
            np.savez_compressed(
                file,
                probs=probs,
                label=validation.label,
                person=validation.person,
                recording=validation.recording,
            )
        aside.replace(self.path / "predictions.npz")

    def finish(self, figures: dict[str, Any]) -> None:
        """Write everything measured; nothing is to be resumed from here on."""
        self._write("figures.json", json.dumps(figures, indent=1, ensure_ascii=False))
        self.checkpoint.unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        aside = self.path / f".{name}.part"
        aside.write_text(text, "utf-8")
        aside.replace(self.path / name)
