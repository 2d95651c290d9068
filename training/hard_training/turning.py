"""The same recordings with the phone put on differently: every sample turned, nothing else.

Pure; called by evaluation to see what a model makes of an orientation that nobody recorded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hard.api import SampleBatch
from hard.upright import UprightEstimator, rotation
from hard_training.windows import grid_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hard.api import Message
    from hard.card import ModelInput
    from hard_training.datasets import Recording

__all__ = ["Turned", "turned", "turned_phones"]

Turned: TypeAlias = Literal["no", "heading", "any"]
"""How phones are turned: not, about the vertical by any angle, or to any orientation."""


def turned_phones(
    recordings: Sequence[Recording], how: Turned, wanted: ModelInput, rng: np.random.Generator
) -> list[Recording]:
    """Return the recordings as phones would have made them that were turned, one turn a person."""
    if how == "no":
        return list(recordings)
    turns: dict[int, NDArray[np.float64]] = {}
    for person in sorted({recording.person for recording in recordings}):
        if how == "any":
            turns[person] = _any_rotation(rng)
        else:
            own = [recording for recording in recordings if recording.person == person]
            turns[person] = _about(_up(own, wanted), rng.uniform(-np.pi, np.pi))
    return [turned(recording, turns[recording.person]) for recording in recordings]


def turned(recording: Recording, turn: NDArray[np.float64]) -> Recording:
    """Return the recording of a phone whose axes are turned by the matrix [3, 3]."""

    def seen(batch: SampleBatch) -> SampleBatch:
        values = batch.values.astype(np.float64) @ turn.T
        return replace(batch, values=values.astype(np.float32))

    messages: list[Message] = [
        [seen(item) if isinstance(item, SampleBatch) else item for item in message]
        for message in recording.messages
    ]
    return replace(recording, messages=tuple(messages))


def _up(recordings: Sequence[Recording], wanted: ModelInput) -> NDArray[np.float64]:
    """Return which way was up in the end, as gait tells; +z where nobody walked."""
    estimator = UprightEstimator(wanted.sampling_rate_hz)
    for recording in recordings:
        for block in grid_blocks(recording, wanted):
            estimator.feed(block.k0, block.values[:, :3], block.valid)
    known = estimator.reference()
    return np.array([0.0, 0.0, 1.0]) if known is None else known


def _about(up: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Return the rotation about `up`."""
    to_z, cos, sin = rotation(up), np.cos(angle), np.sin(angle)
    about: NDArray[np.float64] = (
        to_z.T @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ to_z
    )
    return about


def _any_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rotation, each as likely as any other (a random unit quaternion)."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
