"""What another phone, put on by another person, would have measured instead.

Pure; called by the training loop on each epoch's draw of windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import ConfigDict

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Augmentation", "Axis", "augmented", "upright"]

_TILT_DEG = (5.0, 5.0, 0.0)  # how far references of one placement lie apart

_RATE_HZ = 50  # of every model's windows
_TURN_SAMPLES = (40, 100)

Axis: TypeAlias = Literal[0, 1, 2]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far a training window may be from its recording; depends on the placement.

    `turn_deg` is the deviation of a turn about the device's x, y and z axis, `gain`,
    `accel_bias_m_s2` and `gyro_bias_rad_s` those of the sensors' errors.  Half of the windows are
    turned by 180 degrees about the axis `half_turn` (the screen faces in or out), half mirrored
    along the axis `mirror` (the other side of the body).  `any_heading`: each is turned about z by
    any angle, which is all that the upright frame leaves open.

    `time_warp` is by how much a motion may be faster or slower, as a share of its time.
    `response` is the deviation of the logarithm of what a sensor makes of a frequency, drawn at
    each octave (another phone, cloth, body); `strength` between which factors the motion, not
    gravity, is made weaker or stronger, both sensors alike.  `turning` is the share of windows in
    which the wearer turns about the vertical, up to half way round within 0.8 to 2 s: the device
    turns along, so that only the gyroscope tells.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gain: float = 0.0
    accel_bias_m_s2: float = 0.0
    gyro_bias_rad_s: float = 0.0
    half_turn: Axis | None = None
    mirror: Axis | None = None
    any_heading: bool = False
    time_warp: float = 0.0
    response: float = 0.0
    strength: tuple[float, float] = (1.0, 1.0)
    turning: float = 0.0


def upright(device: Augmentation) -> Augmentation:
    """Return what remains of a placement's augmentation once up is known to a few degrees."""
    return replace(device, turn_deg=_TILT_DEG, half_turn=None, any_heading=True)


def augmented(
    windows: NDArray[np.float32], by: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a changed copy of float32[w, T, C] windows, accelerometer before gyroscope."""
    if by.time_warp:
        windows = _warped(windows, rng.uniform(1 - by.time_warp, 1 + by.time_warp, len(windows)))
    if by.response or by.strength != (1.0, 1.0):
        windows = _filtered(windows, by, rng)
    if by.turning and windows.shape[2] > 3:
        windows = _turning(windows, by.turning, rng)
    n, channels = len(windows), windows.shape[2]
    turn = _rotations(rng.normal(0, 1, (n, 3)) * np.radians(by.turn_deg))
    if by.half_turn is not None:
        kept = np.arange(3) == by.half_turn
        turn = turn * np.where(kept, 1, rng.choice((-1, 1), (n, 1)))[:, :, None]
    if by.any_heading:
        turn = turn @ _rotations(rng.uniform(-np.pi, np.pi, (n, 1)) * (0.0, 0.0, 1.0))
    signs = np.ones((n, 1, 6))
    if by.mirror is not None:
        # A reflection turns an angular rate the other way about the axes it leaves alone.
        flipped = np.append(np.arange(3) == by.mirror, np.arange(3) != by.mirror)
        signs = np.where(flipped, rng.choice((-1, 1), (n, 1, 1)), 1)
    bias = np.repeat((by.accel_bias_m_s2, by.gyro_bias_rad_s), 3)[:channels]
    gain = rng.normal(1, by.gain, (n, 1, channels)) * signs[:, :, :channels]
    offset = rng.normal(0, 1, (n, 1, channels)) * bias
    turn = turn.astype(np.float32)
    turned = [windows[:, :, i : i + 3] @ turn for i in range(0, channels, 3)]
    seen: NDArray[np.float32] = (np.concatenate(turned, axis=2) * gain + offset).astype(np.float32)
    return seen


def _warped(windows: NDArray[np.float32], speed: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return windows at another speed [w] about their centres; beyond their ends time runs back."""
    n, samples, _ = windows.shape
    last = samples - 1
    at = last / 2 + (np.arange(samples) - last / 2) * speed[:, None]
    at = last - np.abs(last - np.abs(at))
    before = np.minimum(at.astype(np.int64), last - 1)
    share = (at - before).astype(np.float32)[:, :, None]
    rows = np.arange(n)[:, None]
    warped: NDArray[np.float32] = windows[rows, before] * (1 - share)
    warped += windows[rows, before + 1] * share
    return warped


def _filtered(
    windows: NDArray[np.float32], by: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return windows with each octave of a sensor's motion made stronger or weaker."""
    n, samples, channels = windows.shape
    octave = np.log2(np.maximum(np.arange(samples // 2 + 1), 1))
    left = octave.astype(np.int64)
    share = octave - left
    knots = rng.normal(0, by.response, (n, left[-1] + 2, channels // 3))
    log_gain = knots[:, left] * (1 - share)[:, None] + knots[:, left + 1] * share[:, None]
    weakest, strongest = np.log(by.strength)
    log_gain += rng.uniform(weakest, strongest, (n, 1, 1))
    log_gain[:, 0] = 0  # gravity stays
    gain = np.repeat(np.exp(log_gain), 3, axis=2)
    spectrum = np.fft.rfft(windows, axis=1) * gain
    changed: NDArray[np.float32] = np.fft.irfft(spectrum, samples, axis=1).astype(np.float32)
    return changed


def _turning(
    windows: NDArray[np.float32], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return windows with a turn of the wearer's in a `share` of them, its rate a raised cosine."""
    n, samples, _ = windows.shape
    angle_rad = rng.uniform(-np.pi, np.pi, (n, 1)) * (rng.random((n, 1)) < share)
    lasts = rng.uniform(*_TURN_SAMPLES, (n, 1))
    centre = rng.uniform(0, samples, (n, 1))
    phase = np.clip((np.arange(samples) - centre) / lasts, -0.5, 0.5)
    rate_rad_s = angle_rad * (1 + np.cos(2 * np.pi * phase)) / (lasts / _RATE_HZ)
    gravity = windows[:, :, :3].mean(axis=1)
    up = gravity / np.maximum(np.linalg.norm(gravity, axis=1, keepdims=True), 1e-3)
    turned = windows.copy()
    turned[:, :, 3:] += (rate_rad_s[:, :, None] * up[:, None]).astype(np.float32)
    return turned


def _rotations(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices [n, 3, 3] that turn by the rotation vectors [n, 3] (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    turn: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross
    turn += (1 - np.cos(angle)) * (cross @ cross)
    return turn
