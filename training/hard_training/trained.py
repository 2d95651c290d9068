"""A trained network as a file, NAME.weights.npz: what was built, and its weights.

A .tflite can't be trained on: its batch normalisation is folded away and its weights may be 8-bit
ones.  Written beside the model by `hard_training.produce`, read by `personalize`, and by the child
that quantises (`hard_training.quantise`).
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hard.api import UnusableInput
from hard.card import ModelInput
from hard_training.recipe import Network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Trained"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A network's shape and its weights in the order of Keras; `sha256` is its .tflite's."""

    network: Network
    input: ModelInput
    labels: int
    weights: list[NDArray[np.float32]]
    sha256: str = ""

    def model(self, batch_size: int | None) -> Any:
        """Build it in tf-keras, with its weights."""
        model = self.network.architecture.build(self.input, self.labels, batch_size)
        model.set_weights(self.weights)
        return model

    def save(self, path: Path) -> None:
        """Write the file, or replace the one that is there."""
        known = {
            "network": self.network.model_dump(),
            "input": self.input.model_dump(),
            "labels": self.labels,
            "sha256": self.sha256,
        }
        aside = path.with_name(f".{path.name}.part")
        with aside.open("wb") as file:
            arrays = {f"w{i}": array for i, array in enumerate(self.weights)}
            np.savez_compressed(file, known=np.array(json.dumps(known)), **arrays)
        aside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; raise `UnusableInput` where it is none of ours."""
        try:
            with path.open("rb") as whole, np.load(whole) as file:
                known = json.loads(str(file["known"]))
                weights = [file[f"w{i}"] for i in range(len(file.files) - 1)]
            return cls(
                Network.model_validate_json(json.dumps(known["network"])),
                ModelInput.model_validate_json(json.dumps(known["input"])),
                known["labels"],
                weights,
                known["sha256"],
            )
        except FileNotFoundError as error:
            raise UnusableInput(
                f"{path}: not there; `hard-train run` writes it beside the model"
            ) from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UnusableInput(f"{path}: not the weights of a network: {error}") from error
