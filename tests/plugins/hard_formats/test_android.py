"""Android's sensor events, as SensorSpot and SensorServer send them."""

import json

import pytest

from hard_formats.messages import Options, decode
from tests.plugins.hard_formats.phone_messages import (
    T_RECEIVED,
    android_event,
    by_sensor,
    decoded,
    refusal,
)

SINCE_BOOT = 3_925_657_519_043_709


@pytest.mark.parametrize(
    ("kind", "sensor", "unit"),
    [
        ("accelerometer", "accel", "m/s2"),
        ("linear_acceleration", "linear_accel", "m/s2"),
        ("gravity", "gravity", "m/s2"),
        ("gyroscope", "gyro", "rad/s"),
    ],
)
def test_an_event_is_one_sample_of_the_phones_own_clock(kind, sensor, unit):
    (batch,) = decoded(android_event(kind)).message
    assert (batch.sensor, batch.declared.unit, batch.declared.sign) == (sensor, unit, 1)
    assert batch.declared.clock == "device"
    assert batch.t.tolist() == [SINCE_BOOT]
    assert batch.values.tolist() == [[0.0, 1.0, 9.5]]
    assert batch.t_received_ns == T_RECEIVED


def test_there_is_no_device_id_so_the_topic_is_the_stream():
    assert decode(android_event(), Options(), fallback="spot-1").stream == "spot-1"


@pytest.mark.parametrize("kind", ["light", "accelerometer_uncalibrated", "rotation_vector"])
def test_other_sensors_are_none_of_ours_and_no_fault(kind):
    result = decoded(android_event(kind, values=[1, 2, 3, 4, 5, 6]))
    assert result.message == []
    assert not +result.skipped


def test_figures_after_the_three_axes_are_left_alone():
    result = decoded(android_event(values=[1, 2, 3, 0.5]))
    assert by_sensor(result)["accel"].values.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"values": [1, 2]}, "wrong_type"),
        ({"values": [1, 2, None]}, "wrong_type"),
        ({"timestamp": None}, "bad_time"),
        ({"timestamp": 1.5}, "bad_time"),
        ({"timestamp": -1}, "bad_time"),
    ],
)
def test_a_broken_event_is_counted(broken, reason):
    result = decoded(json.loads(android_event()) | broken)
    assert result.message == []
    assert result.skipped == {reason: 1}


def test_a_place_is_no_event():
    place = {"longitude": 8.5, "latitude": 47.3, "altitude": 408.0, "time": 1}
    assert refusal(place).reason == "unknown_shape"
    assert refusal(place, format="android").reason == "unknown_shape"
