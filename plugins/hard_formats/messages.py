"""One message of a phone or another sender -> samples and annotations, or a named refusal.

Pure: no connection, no clock.  The sources that receive messages (mqtt, http, ws) call `decode`
for each; which of the formats a message has is seen from the message itself unless configured:

    sensor_logger   hard_formats.sensor_logger   {"deviceId", "messageId", "payload": [{"name", …}]}
    android         hard_formats.android         {"type": "android.sensor.…", "timestamp", "values"}
    plain           hard_formats.plain           {"samples": […]} or {"t": […], "accel_x": […], …}
    phyphox_json    hard_formats.phyphox         {"accX": […], …, "acc_time": […]}
    phyphox_csv     hard_formats.phyphox         0.1,0.2,0.3 on a topic of its own: `decode_buffer`

and `decode_label` takes a label alone, from whoever watches the wearer.

It changes no unit and no sign, it only declares them.  A bad sample is left out and counted, a
message that is none of the above is `Refused` as a whole.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from hard.api import PLAUSIBLE_NS, Annotation, Declared, SampleBatch, Sensor
from hard_formats import android, phyphox, plain, sensor_logger
from hard_formats.names import safe_id
from hard_formats.series import Contents, Format, Options, Refused, arrays

try:
    from simdjson import loads as _fast_loads
except ImportError:  # there is no wheel for 32-bit ARM
    from json import loads as _fast_loads

__all__ = ["Decoded", "Format", "Options", "Refused", "decode", "decode_buffer", "decode_label"]

_MAX_LABEL_CHARACTERS: Final = 200
_MAX_LABEL_BYTES: Final = 2048
_SAME_AGE: Final = 2.0  # no label of the computer age is so much older or newer than now


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one message held; `skipped` counts the samples left out by reason.

    `sent` are the sensors in it, though all their samples were left out; `device` is the sender's
    own id.  `beside` is the name that another device has, where this one's stream got its own.
    `is_empty` says that there was nothing to be read in it, and nothing wrong with that.
    """

    stream: str
    message: list[SampleBatch | Annotation]
    skipped: Counter[str]
    format: Format | None
    sent: frozenset[Sensor] = frozenset()
    device: str | None = None
    beside: str | None = None
    is_empty: bool = False


def decode(
    payload: bytes,
    options: Options,
    *,
    named: str | None = None,
    fallback: str = "phone",
    t_received_ns: int | None = None,
) -> Decoded:
    """Return what `payload` holds; raise `Refused` and nothing else.

    The stream is `named` (the transport knows: a level of the topic), else what the message
    claims, else `fallback`; a message that claims another stream than `named` is refused.
    `t_received_ns` is when it came, by this machine's clock: without it stamps of a device's own
    clock can't be mapped.
    """
    body = _parse(payload, options.max_payload_bytes)
    kind = _format(body) if options.format == "auto" else options.format
    contents = _read(kind, body, options, t_received_ns)
    # Only `stream` claims an identity of ours; Sensor Logger's deviceId is a random hardware id.
    claimed = contents.claimed_stream if kind == "plain" else None
    if named is not None and claimed is not None and claimed != named:
        raise Refused("other_stream", f"a message of stream {named!r} claims to be {claimed!r}")
    stream = named or contents.claimed_stream or fallback
    return _decoded(stream, contents, kind, options, t_received_ns)


def decode_buffer(
    joiner: phyphox.BufferJoiner,
    topic: str,
    payload: bytes,
    options: Options,
    *,
    named: str | None = None,
    t_received_ns: int | None = None,
) -> Decoded:
    """Return what a buffer of phyphox's `mqtt/csv` completes: often nothing yet; or `Refused`.

    The stream is `named`, else the topic without its last level, which names the buffer.
    """
    _check_size(payload, options.max_payload_bytes)
    contents = joiner.take(topic, payload) or Contents(None, [])
    stream = named or topic.rpartition("/")[0] or topic
    return _decoded(stream, contents, "phyphox_csv", options, t_received_ns)


def decode_label(payload: bytes, named: str, t_received_ns: int) -> Decoded:
    """Return the label of stream `named` that is `payload`; raise `Refused` and nothing else.

    A text, from now on, or `{"label": text, "t": ns since the epoch}`; empty ends the one before.
    """
    _check_size(payload, _MAX_LABEL_BYTES, "what a label may have")
    label: Any = payload.decode("utf-8", "replace").strip()
    t: Any = t_received_ns
    if label.startswith("{"):
        body = _parse(payload, _MAX_LABEL_BYTES)
        label, t = body.pop("label", None), body.pop("t", t_received_ns)
        if type(label) is not str or body:
            raise Refused("bad_label", f'not {{"label": text, "t": ns}} alone: {payload[:80]!r}')
    # U+FFFD stands for what is not UTF-8.
    if not label.isprintable() or "\ufffd" in label or len(label) > _MAX_LABEL_CHARACTERS:
        what = f"a printable text of at most {_MAX_LABEL_CHARACTERS} characters"
        raise Refused("bad_label", f"a label must be {what}: {payload[:80]!r}")
    now_ns = max(t_received_ns, PLAUSIBLE_NS)  # this machine's clock may not be set yet
    is_given = t is not t_received_ns
    if is_given and not (type(t) is int and now_ns / _SAME_AGE <= t <= now_ns * _SAME_AGE):
        raise Refused("bad_time", f"t of a label must be ns since 1970, not {t!r:.80}")
    stream = safe_id(named)
    return Decoded(stream, [Annotation(stream, t, label)], Counter(), None)


def _check_size(payload: bytes, max_bytes: int, limit: str = "max_payload_bytes") -> None:
    if len(payload) > max_bytes:
        raise Refused(
            "too_large", f"a message of {len(payload)} bytes is over {limit} = {max_bytes}"
        )


def _parse(payload: bytes, max_payload_bytes: int) -> dict[str, Any]:
    _check_size(payload, max_payload_bytes)
    try:
        body = _fast_loads(payload)
    except (ValueError, RuntimeError):  # what simdjson will not read (NaN, a huge number) json may
        body = _slow_loads(payload)
    if type(body) is not dict:
        raise Refused("unknown_shape", f"a message is no JSON object: {payload[:80]!r}")
    return body


def _slow_loads(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Refused("not_json", f"a message is not JSON ({error}): {payload[:80]!r}") from error


def _format(body: dict[str, Any]) -> Format:
    if sensor_logger.recognises(body):
        return "sensor_logger"
    if android.recognises(body):
        return "android"
    if not plain.recognises(body) and phyphox.recognises(body):
        return "phyphox_json"
    return "plain"  # which says what is missing


def _read(
    kind: Format, body: dict[str, Any], options: Options, t_received_ns: int | None
) -> Contents:
    if kind == "sensor_logger":
        return sensor_logger.read(body, options)
    if kind == "android":
        return android.read(body)
    if kind == "plain":
        return plain.read(body, options, t_received_ns)
    if kind == "phyphox_json":
        return phyphox.read(body)
    raise Refused("unknown_shape", f'a JSON object where format = "{kind}" says there is none')


def _decoded(
    stream: str, contents: Contents, kind: Format, options: Options, t_received_ns: int | None
) -> Decoded:
    stream = safe_id(stream)
    message: list[SampleBatch | Annotation] = []
    for series in contents.series:
        t, values = arrays(series, contents.skipped)
        if not len(t):
            continue
        declared = Declared(series.unit, series.sign, options.max_delay_s, series.clock)
        message.append(
            SampleBatch(
                stream, series.sensor, t, values, declared, t_received_ns, contents.message_id
            )
        )
    message += [Annotation(stream, t, label) for t, label in contents.annotations]
    sent = frozenset(series.sensor for series in contents.series if series.times)
    return Decoded(
        stream,
        message,
        contents.skipped,
        kind,
        sent,
        contents.device,
        is_empty=contents.is_empty,
    )
