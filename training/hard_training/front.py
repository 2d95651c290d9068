"""What a network looks at instead of the raw axes: channels that heading and strength leave alone.

Computed within the graph, so that the edge is fed the same windows as ever.  `d` is the
acceleration less its mean over the window, `v` and `h` a vector's vertical part and the length of
its horizontal part.

    axes        the raw axes, heading and all: which way a wearer sits down
    magnitude   v(a), h(a), v(g), h(g): what is felt, in m/s² and rad/s
    shape       v(d), h(d), |a| less its mean, h(g), |v(g)|, each divided by the window's own
                strength: the form of a step, however hard it is
    faint       v(d), h(d), v(g), h(g), squashed: what moves in somebody who stands or sits
    tilt        the horizontal share of the mean acceleration: how a resting phone lies
    lie         the share of each axis in the mean acceleration, whichever way round: likewise, for
                a phone that is put back the other way up, or with its screen out

`magnitude`, `shape`, `faint` and `tilt` take +z for up (the upright frame), and no heading changes
them.  `own-magnitude`, `own-shape` and `own-faint` are the same with the window's own mean
acceleration for up: no turn of the phone changes them, and they need no reference.

Called by `hard_training.models`; without a gyroscope what needs one is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHANNEL_SETS", "NEED_UPRIGHT", "ChannelSet", "looked_at"]

ChannelSet: TypeAlias = Literal[
    "axes",
    "magnitude",
    "shape",
    "tilt",
    "faint",
    "lie",
    "own-magnitude",
    "own-shape",
    "own-faint",
]
CHANNEL_SETS: tuple[ChannelSet, ...] = get_args(ChannelSet)
NEED_UPRIGHT: frozenset[ChannelSet] = frozenset(("magnitude", "shape", "tilt", "faint"))
"""Those that take +z for up."""

_Split: TypeAlias = Callable[[Any], list[Any]]
"""A vector [batch, T, 3] to its vertical part and its horizontal part's length [batch, T, 1]."""

# A window at rest is not to be blown up to the strength of a step: m/s² and rad/s.
_LEAST_ACCEL, _LEAST_GYRO = 0.3, 0.1
_FAINT_ACCEL, _FAINT_GYRO = 0.15, 0.05
_NO_GRAVITY = 1e-3  # m/s²: a phone that measures nothing is not to divide by it


def looked_at(window: Any, sets: Sequence[ChannelSet]) -> Any:
    """Return the channels of `sets` [batch, T, n] of windows [batch, T, 3 or 6] as tensors."""
    accel, gyro = window[:, :, :3], window[:, :, 3:]
    own = _about(_mean(accel))
    of = {
        "axes": lambda: [accel, gyro] if gyro.shape[2] else [accel],
        "magnitude": lambda: _magnitude(accel, gyro, _up_and_level),
        "shape": lambda: _shape(accel, gyro, _up_and_level),
        "tilt": lambda: _tilt(accel),
        "faint": lambda: _faint(accel, gyro, _up_and_level),
        "lie": lambda: _lie(accel),
        "own-magnitude": lambda: _magnitude(accel, gyro, own),
        "own-shape": lambda: _shape(accel, gyro, own),
        "own-faint": lambda: _faint(accel, gyro, own),
    }
    channels = [part for name in sets for part in of[name]()]
    return _tf().concat(channels, axis=2)


def _tf() -> Any:
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    return tf


def _mean(x: Any) -> Any:
    return _tf().reduce_mean(x, axis=1, keepdims=True)


def _length(vector: Any) -> Any:
    tf = _tf()
    return tf.sqrt(tf.reduce_sum(vector * vector, axis=2, keepdims=True))


def _up_and_level(vector: Any) -> list[Any]:
    return [vector[:, :, 2:3], _length(vector[:, :, :2])]


def _about(gravity: Any) -> _Split:
    """Return what splits a vector by the direction of `gravity` [batch, 1, 3]."""
    up = gravity / (_length(gravity) + _NO_GRAVITY)

    def split(vector: Any) -> list[Any]:
        vertical = _tf().reduce_sum(vector * up, axis=2, keepdims=True)
        return [vertical, _length(vector - vertical * up)]

    return split


def _strength(vector: Any, least: float) -> Any:
    tf = _tf()
    return tf.sqrt(_mean(tf.reduce_sum(vector * vector, axis=2, keepdims=True))) + least


def _magnitude(accel: Any, gyro: Any, split: _Split) -> list[Any]:
    return split(accel) + (split(gyro) if gyro.shape[2] else [])


def _shape(accel: Any, gyro: Any, split: _Split) -> list[Any]:
    moving, whole = accel - _mean(accel), _length(accel)
    strength = _strength(moving, _LEAST_ACCEL)
    found = [part / strength for part in (*split(moving), whole - _mean(whole))]
    if gyro.shape[2]:
        turning = _strength(gyro, _LEAST_GYRO)
        up, level = split(gyro)
        found += [level / turning, _tf().abs(up) / turning]
    return found


def _tilt(accel: Any) -> list[Any]:
    gravity = _mean(accel)
    level = _length(gravity[:, :, :2]) / (_length(gravity) + _LEAST_ACCEL)
    return [_all_along(level, accel)]


def _lie(accel: Any) -> list[Any]:
    gravity = _mean(accel)
    return [_all_along(_tf().abs(gravity) / (_length(gravity) + _NO_GRAVITY), accel)]


def _all_along(of_window: Any, accel: Any) -> Any:
    return _tf().tile(of_window, [1, accel.shape[1], 1])


def _faint(accel: Any, gyro: Any, split: _Split) -> list[Any]:
    tf = _tf()
    found = [tf.tanh(part / _FAINT_ACCEL) for part in split(accel - _mean(accel))]
    if gyro.shape[2]:
        found += [tf.tanh(part / _FAINT_GYRO) for part in split(gyro)]
    return found
