"""What a network looks at instead of the raw axes: channels that heading and strength leave alone.

Computed within the graph, so that the edge is fed the same windows as ever.  All take +z for up
(the upright frame); none but `axes` depends on the heading.  `d` is the acceleration less its mean
over the window, `h` the length of a vector's horizontal part.

    axes        the raw axes, heading and all: which way a wearer sits down
    magnitude   a_z, h(a), g_z, h(g): what is felt, in m/s² and rad/s
    shape       d_z, h(d), |a| less its mean, h(g), |g_z|, each divided by the window's own
                strength: the form of a step, however hard it is
    tilt        the horizontal share of the mean acceleration: how a resting phone lies
    faint       d_z, h(d), g_z, h(g), squashed: what moves in somebody who stands or sits

Called by `hard_training.models`; without a gyroscope what needs one is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHANNEL_SETS", "ChannelSet", "looked_at"]

ChannelSet: TypeAlias = Literal["axes", "magnitude", "shape", "tilt", "faint"]
CHANNEL_SETS: tuple[ChannelSet, ...] = get_args(ChannelSet)

# A window at rest is not to be blown up to the strength of a step: m/s² and rad/s.
_LEAST_ACCEL, _LEAST_GYRO = 0.3, 0.1
_FAINT_ACCEL, _FAINT_GYRO = 0.15, 0.05


def looked_at(window: Any, sets: Sequence[ChannelSet]) -> Any:
    """Return the channels of `sets` [batch, T, n] of windows [batch, T, 3 or 6] as tensors."""
    accel, gyro = window[:, :, :3], window[:, :, 3:]
    of = {
        "axes": _axes,
        "magnitude": _magnitude,
        "shape": _shape,
        "tilt": _tilt,
        "faint": _faint,
    }
    channels = [part for name in sets for part in of[name](accel, gyro)]
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


def _strength(vector: Any, least: float) -> Any:
    tf = _tf()
    return tf.sqrt(_mean(tf.reduce_sum(vector * vector, axis=2, keepdims=True))) + least


def _axes(accel: Any, gyro: Any) -> list[Any]:
    return [accel, gyro] if gyro.shape[2] else [accel]


def _magnitude(accel: Any, gyro: Any) -> list[Any]:
    return _up_and_level(accel) + (_up_and_level(gyro) if gyro.shape[2] else [])


def _shape(accel: Any, gyro: Any) -> list[Any]:
    moving, whole = accel - _mean(accel), _length(accel)
    strength = _strength(moving, _LEAST_ACCEL)
    found = [part / strength for part in (*_up_and_level(moving), whole - _mean(whole))]
    if gyro.shape[2]:
        turning = _strength(gyro, _LEAST_GYRO)
        up, level = _up_and_level(gyro)
        found += [level / turning, _tf().abs(up) / turning]
    return found


def _tilt(accel: Any, gyro: Any) -> list[Any]:
    del gyro
    gravity = _mean(accel)
    level = _length(gravity[:, :, :2]) / (_length(gravity) + _LEAST_ACCEL)
    return [_tf().tile(level, [1, accel.shape[1], 1])]


def _faint(accel: Any, gyro: Any) -> list[Any]:
    tf = _tf()
    found = [tf.tanh(part / _FAINT_ACCEL) for part in _up_and_level(accel - _mean(accel))]
    if gyro.shape[2]:
        found += [tf.tanh(part / _FAINT_GYRO) for part in _up_and_level(gyro)]
    return found
