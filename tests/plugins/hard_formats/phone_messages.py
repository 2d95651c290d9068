"""Messages as phones send them, and what comes of them: for the tests of this folder only."""

import json

import pytest

from hard.api import SampleBatch
from hard.testing import check_message
from hard_formats.messages import Options, Refused, decode

T0 = 1_700_000_000_123_456_789  # odd and over 2^53: a float would lose it
T_RECEIVED = T0 + 1_500_000_000


def sample(name, i=0, **values):
    """Return one entry of Sensor Logger's payload, 10 ms apart."""
    return {
        "name": name,
        "time": T0 + i * 10_000_000,
        "values": values or {"x": 0.5, "y": 1.5, "z": 9.5},
        "accuracy": 3,
    }


def second(name, z=9.5):
    """Return a second of a sensor at 100 Hz."""
    return [sample(name, i, x=0.0, y=0.0, z=z) for i in range(100)]


def sensor_logger(*payload, **changes):
    body = {"messageId": 7, "sessionId": "s", "deviceId": "phone-1", "payload": list(payload)}
    return json.dumps(body | changes).encode()


def android_event(kind="accelerometer", timestamp=3_925_657_519_043_709, values=(0, 1, 9.5)):
    body = {"type": f"android.sensor.{kind}", "timestamp": timestamp, "values": list(values)}
    return json.dumps(body | {"accuracy": 3}).encode()


def decoded(body, fallback="phone", **options):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = decode(payload, Options(**options), fallback=fallback, t_received_ns=T_RECEIVED)
    if result.message:
        check_message(result.message)
    return result


def by_sensor(result):
    return {part.sensor: part for part in result.message if isinstance(part, SampleBatch)}


def refusal(body, **options):
    with pytest.raises(Refused) as caught:
        decoded(body, **options)
    return caught.value
