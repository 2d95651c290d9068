"""Sensor Logger's messages, of both systems; each trap of the format has its test."""

import numpy as np
import pytest

from hard.api import Annotation
from tests.plugins.hard_formats.phone_messages import (
    T0,
    T_RECEIVED,
    by_sensor,
    decoded,
    refusal,
    sample,
    second,
    sensor_logger,
)


def test_interleaved_sensors_become_one_batch_each_with_exact_times():
    names = ("accelerometer", "gravity", "gyroscope")
    result = decoded(sensor_logger(*(sample(name, i) for i in range(100) for name in names)))
    batches = by_sensor(result)
    assert list(batches) == ["linear_accel", "gravity", "gyro"]
    expected = T0 + 10_000_000 * np.arange(100)
    assert all((batch.t == expected).all() for batch in batches.values())
    assert batches["gyro"].values[0].tolist() == [0.5, 1.5, 9.5]
    assert {(b.stream, b.message_id, b.t_received_ns) for b in batches.values()} == {
        ("phone-1", 7, T_RECEIVED)
    }


@pytest.mark.parametrize(("platform", "sign"), [("ios", -1), ("android", 1), (None, None)])
def test_the_sign_of_acceleration_and_gravity_comes_from_the_platform(platform, sign):
    body = sensor_logger(sample("accelerometer"), sample("gravity"), sample("gyroscope"))
    batches = by_sensor(decoded(body, platform=platform))
    assert batches["linear_accel"].declared.sign == sign
    assert batches["gravity"].declared.sign == sign
    assert batches["gyro"].declared.sign == 1
    assert {b.declared.max_delay_s for b in batches.values()} == {3.0}


def test_total_acceleration_is_of_android_whatever_the_configuration_says():
    body = sensor_logger(sample("totalacceleration"), sample("gravity"))
    batches = by_sensor(decoded(body, platform="ios"))
    assert (batches["accel"].declared.unit, batches["accel"].declared.sign) == ("m/s2", 1)
    assert batches["gravity"].declared.sign == 1


def test_a_sensor_is_read_alike_whatever_else_its_message_holds():
    names = ["totalacceleration", "accelerometer", "gravity", "gyroscope"]
    sensors = ["accel", "linear_accel", "gravity", "gyro"]
    together = by_sensor(decoded(sensor_logger(*map(sample, names)), platform="android"))
    assert list(together) == sensors
    for name, sensor in zip(names, sensors, strict=True):
        (alone,) = decoded(sensor_logger(sample(name)), platform="android").message
        assert alone.sensor == sensor
        assert alone.declared == together[sensor].declared
        assert (alone.values == together[sensor].values).all()


def test_acceleration_without_gravity_stays_what_it_is():
    assert list(by_sensor(decoded(sensor_logger(sample("accelerometer"))))) == ["linear_accel"]


def test_gravity_keeps_its_own_times_and_may_precede_the_start():
    entries = [sample("accelerometer", i) for i in range(5)]
    early = [sample("gravity", i) for i in range(5)]
    for entry in early:
        entry["time"] -= 35_000_003
    batches = by_sensor(decoded(sensor_logger(*entries, *early), platform="ios"))
    assert batches["gravity"].t[0] == T0 - 35_000_003
    assert batches["linear_accel"].t[0] == T0


@pytest.mark.parametrize(("platform", "unit", "sign"), [("ios", "g", -1), ("android", "m/s2", 1)])
def test_the_uncalibrated_sensor_has_the_unit_of_its_platform(platform, unit, sign):
    body = sensor_logger(sample("accelerometeruncalibrated"))
    batches = by_sensor(decoded(body, platform=platform))
    assert list(batches) == ["accel"]
    assert (batches["accel"].declared.unit, batches["accel"].declared.sign) == (unit, sign)


@pytest.mark.parametrize(("z", "unit", "sign"), [(-1.0, "g", -1), (9.7, "m/s2", 1)])
def test_the_uncalibrated_sensor_tells_its_system_by_its_unit(z, unit, sign):
    parts = second("accelerometer", 0.1) + second("gravity", 9.8)
    body = sensor_logger(*second("accelerometeruncalibrated", z), *parts)
    batches = by_sensor(decoded(body))
    assert batches["accel"].declared.unit == unit
    assert {batches[s].declared.sign for s in ("accel", "linear_accel", "gravity")} == {sign}


@pytest.mark.parametrize("z", [0.0, 0.2, 3.0, 50.0])
def test_an_uncalibrated_sensor_of_no_clear_unit_is_not_guessed(z):
    result = decoded(sensor_logger(*second("accelerometeruncalibrated", z)))
    assert result.message == []
    assert result.skipped == {"unit_unknown": 100}


def test_a_stretch_too_short_to_tell_is_not_guessed():
    body = sensor_logger(*second("accelerometeruncalibrated", 1.0)[:40])
    assert decoded(body).skipped == {"unit_unknown": 40}


def test_total_acceleration_is_preferred_to_the_uncalibrated():
    body = sensor_logger(
        sample("accelerometeruncalibrated", x=9.0, y=0, z=0), sample("totalacceleration")
    )
    assert by_sensor(decoded(body))["accel"].values.tolist() == [[0.5, 1.5, 9.5]]


def test_an_annotation_is_kept():
    body = sensor_logger(sample("annotation", text="stairs \ud83d", millisecond_press_duration=1))
    assert decoded(body).message == [Annotation("phone-1", T0, "stairs ?")]


def test_other_sensors_are_ignored():
    names = ("barometer", "battery", "orientation", "wrist motion", "headphone", "location")
    body = sensor_logger(*(sample(name, level=0.5) for name in names))
    result = decoded(body)
    assert result.message == []
    assert not +result.skipped


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_value_that_is_no_finite_number_costs_its_sample_only(number):
    body = sensor_logger(sample("gyroscope", 0), sample("gyroscope", 1, x=77, y=0, z=0))
    result = decoded(body.replace(b"77", number.encode()))
    assert by_sensor(result)["gyro"].t.tolist() == [T0]
    assert result.skipped == {"not_finite": 1}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"values": None}, "wrong_type"),
        ({"values": {"x": 1, "y": 2}}, "wrong_type"),
        ({"values": {"x": "1", "y": 2, "z": 3}}, "wrong_type"),
        ({"values": {"x": True, "y": 2, "z": 3}}, "wrong_type"),
        ({"values": {"x": [1], "y": 2, "z": 3}}, "wrong_type"),
        ({"name": None}, "wrong_type"),
        ({"time": None}, "bad_time"),
        ({"time": 1.7e18}, "bad_time"),
        ({"time": "1700000000000000000"}, "bad_time"),
        ({"time": True}, "bad_time"),
        ({"time": -1}, "bad_time"),
        ({"time": 2**63}, "bad_time"),
        ({"time": 10**400}, "bad_time"),
    ],
)
def test_a_broken_sample_costs_itself_only(broken, reason):
    body = sensor_logger(sample("gyroscope", 0), sample("gyroscope", 1) | broken)
    result = decoded(body)
    assert by_sensor(result)["gyro"].t.tolist() == [T0]
    assert result.skipped == {reason: 1}


@pytest.mark.parametrize("number", [None, "7", True, -1, 7.0])
def test_a_message_number_that_is_none_is_left_out(number):
    result = decoded(sensor_logger(sample("gyroscope"), messageId=number))
    assert by_sensor(result)["gyro"].message_id is None


@pytest.mark.parametrize("test", [b'{"message": "Tap to test"}', b'{"payload": [1, null]}'])
def test_tap_to_test_is_refused_by_name(test):
    assert refusal(test).reason == "unknown_shape"


def test_a_message_of_other_shape_is_refused_where_sensor_logger_is_configured():
    assert refusal({"samples": []}, format="sensor_logger").reason == "unknown_shape"
