"""`decode` against messages as Sensor Logger and others write them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import Annotation, SampleBatch
from hard.testing import check_message
from hard_mqtt.decode import Options, Refused, decode

T0 = 1_700_000_000_123_456_789  # odd and over 2^53: a float would lose it


def sample(name, i=0, **values):
    return {
        "name": name,
        "time": T0 + i * 10_000_000,
        "values": values or {"x": 0.5, "y": 1.5, "z": 9.5},
        "accuracy": 3,
    }


def sensor_logger(*payload, **changes):
    body = {"messageId": 7, "sessionId": "s", "deviceId": "phone-1", "payload": list(payload)}
    return json.dumps(body | changes).encode()


def decoded(body, topic="sensor-logger", **options):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = decode(payload, topic, Options(topics=("sensor-logger",), **options), 5)
    if result.message:
        check_message(result.message)
    return result


def by_sensor(result):
    return {part.sensor: part for part in result.message if isinstance(part, SampleBatch)}


def refusal(body, topic="sensor-logger", **options):
    with pytest.raises(Refused) as caught:
        decoded(body, topic, **options)
    return caught.value.reason


# Sensor Logger


def test_interleaved_sensors_become_one_batch_each_with_exact_times():
    names = ("accelerometer", "gravity", "gyroscope")
    result = decoded(sensor_logger(*(sample(name, i) for i in range(100) for name in names)))
    batches = by_sensor(result)
    assert list(batches) == ["linear_accel", "gravity", "gyro"]
    expected = T0 + 10_000_000 * np.arange(100)
    assert all((batch.t == expected).all() for batch in batches.values())
    assert batches["gyro"].values[0].tolist() == [0.5, 1.5, 9.5]
    assert {(b.stream, b.message_id, b.t_received_ns) for b in batches.values()} == {
        ("phone-1", 7, 5)
    }


@pytest.mark.parametrize(("platform", "sign"), [("ios", -1), ("android", 1), (None, None)])
def test_the_sign_of_acceleration_and_gravity_comes_from_the_platform(platform, sign):
    body = sensor_logger(sample("accelerometer"), sample("gravity"), sample("gyroscope"))
    batches = by_sensor(decoded(body, platform=platform))
    assert batches["linear_accel"].declared.sign == sign
    assert batches["gravity"].declared.sign == sign
    assert batches["gyro"].declared.sign == 1
    assert {b.declared.max_delay_s for b in batches.values()} == {3.0}


def test_total_acceleration_is_preferred_to_its_parts():
    names = ("accelerometer", "gravity", "totalacceleration", "accelerometeruncalibrated")
    batches = by_sensor(decoded(sensor_logger(*map(sample, names)), platform="android"))
    assert list(batches) == ["accel"]
    assert (batches["accel"].declared.unit, batches["accel"].declared.sign) == ("m/s2", 1)


@pytest.mark.parametrize(("platform", "unit", "sign"), [("ios", "g", -1), ("android", "m/s2", 1)])
def test_the_uncalibrated_sensor_has_the_unit_of_its_platform(platform, unit, sign):
    body = sensor_logger(sample("accelerometeruncalibrated"), sample("accelerometer"))
    batches = by_sensor(decoded(body, platform=platform))
    assert list(batches) == ["accel"]
    assert (batches["accel"].declared.unit, batches["accel"].declared.sign) == (unit, sign)


def test_the_uncalibrated_sensor_of_an_unknown_platform_is_not_guessed():
    assert decoded(sensor_logger(sample("accelerometeruncalibrated"))).message == []


def test_the_uncalibrated_sensor_yields_to_gravity():
    body = sensor_logger(sample("accelerometeruncalibrated"), sample("gravity"))
    assert list(by_sensor(decoded(body, platform="ios"))) == ["gravity"]


def test_an_annotation_is_kept():
    body = sensor_logger(sample("annotation", text="stairs \ud83d", millisecond_press_duration=1))
    assert decoded(body).message == [Annotation("phone-1", T0, "stairs ?")]


def test_other_sensors_are_ignored():
    body = sensor_logger(sample("barometer", pressure=1013.0), sample("battery", level=0.5))
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


# whose samples they are


def test_without_a_device_id_the_topic_is_the_stream():
    result = decoded(sensor_logger(sample("gyroscope"), deviceId=None), "home/phone")
    assert result.stream.startswith("home_phone_")


def test_an_unsafe_device_id_is_escaped():
    result = decoded(sensor_logger(sample("gyroscope"), deviceId="../#/\n"))
    check_message(result.message)
    assert result.stream.startswith("______")


PLAIN = {"samples": [{"t": T0, "accel": [0, 0, 9.81], "gyro": [0.1, 0.2, 0.3]}]}


def test_the_topic_names_the_stream():
    options = Options(topics=("sensors/{stream}/imu",))
    body = json.dumps(PLAIN | {"stream": "wrist-1"}).encode()
    assert decode(body, "sensors/wrist-1/imu", options).stream == "wrist-1"
    phone = sensor_logger(sample("gyroscope"), deviceId="3f2a")
    assert decode(phone, "sensors/wrist-1/imu", options).stream == "wrist-1"


def test_a_payload_that_claims_another_stream_than_its_topic_is_refused():
    options = Options(topics=("sensors/{stream}/imu",))
    with pytest.raises(Refused, match="claims stream 'wrist-2'") as caught:
        decode(json.dumps(PLAIN | {"stream": "wrist-2"}).encode(), "sensors/wrist-1/imu", options)
    assert caught.value.reason == "other_stream"


# plain JSON


def test_plain_rows_are_read():
    result = decoded(PLAIN | {"stream": "wrist-1"})
    batches = by_sensor(result)
    assert result.stream == "wrist-1"
    assert batches["accel"].t.tolist() == batches["gyro"].t.tolist() == [T0]
    assert batches["accel"].values.tolist() == [[0.0, 0.0, np.float32(9.81)]]
    assert batches["accel"].declared.sign == 1


def test_plain_columns_are_read():
    columns = {"stream": "wrist-1", "t": [T0, T0 + 1]}
    columns |= {f"accel_{axis}": [i, i + 0.5] for i, axis in enumerate("xyz")}
    batches = by_sensor(decoded(columns))
    assert list(batches) == ["accel"]
    assert batches["accel"].t.tolist() == [T0, T0 + 1]
    assert batches["accel"].values.tolist() == [[0, 1, 2], [0.5, 1.5, 2.5]]


def test_units_of_plain_json_come_from_the_configuration():
    batches = by_sensor(decoded(PLAIN, accel_unit="g", gyro_unit="deg/s"))
    assert batches["accel"].declared.unit == "g"
    assert batches["gyro"].declared.unit == "deg/s"


@pytest.mark.parametrize(
    ("unit", "t", "t_ns"),
    [
        ("ns", T0, T0),
        ("us", 1_700_000_000_123_457, 1_700_000_000_123_457_000),
        ("ms", 1_700_000_000_123, 1_700_000_000_123_000_000),
        ("ms", 1_700_000_000_123.5, 1_700_000_000_123_500_000),
        ("s", 1_700_000_000, 1_700_000_000_000_000_000),
        ("s", 1_700_000_000.25, 1_700_000_000_250_000_000),
    ],
)
def test_plain_times_are_converted_to_ns(unit, t, t_ns):
    result = decoded({"samples": [{"t": t, "gyro": [1, 2, 3]}]}, time_unit=unit)
    assert by_sensor(result)["gyro"].t.tolist() == [t_ns]


@pytest.mark.parametrize(
    "row", [None, {}, {"t": T0}, {"t": T0, "gyro": [1, 2]}, {"t": T0, "gyro": {"x": 1}}]
)
def test_a_broken_plain_row_costs_itself_only(row):
    result = decoded({"samples": [{"t": T0, "gyro": [1, 2, 3]}, row]})
    assert by_sensor(result)["gyro"].t.tolist() == [T0]
    assert +result.skipped == {"wrong_type": 1}


# what can't be used at all


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\x00", "not_json"),
        (b"{", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"9" * 5000, "not_json"),
        (b"[]", "unknown_shape"),
        (b'"Tap to test"', "unknown_shape"),
        (b'{"message": "Tap to test"}', "unknown_shape"),
        (b'{"payload": "test"}', "unknown_shape"),
        (b'{"payload": [1, null]}', "unknown_shape"),
        (b'{"t": [1]}', "unknown_shape"),
        (b'{"t": [1], "gyro_x": [1]}', "unequal_columns"),
        (b'{"t": [1], "gyro_x": [1], "gyro_y": [1], "gyro_z": [1, 2]}', "unequal_columns"),
    ],
)
def test_a_message_of_another_shape_is_refused_by_name(body, reason):
    assert refusal(body) == reason


def test_a_message_over_the_limit_is_refused_before_parsing():
    assert refusal(b"[" * 2000, max_payload_bytes=1999) == "too_large"


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(T0)
)
keys = st.sampled_from(
    [
        *("payload", "samples", "t", "name", "time", "values", "x", "y", "z", "accel", "gyro"),
        *("stream", "deviceId", "messageId", "gyro_x", "gyro_y", "gyro_z", "text"),
    ]
)
names = st.sampled_from(["gyroscope", "accelerometer", "annotation", "totalacceleration"])
json_values = st.recursive(
    leaves | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)
entries = st.fixed_dictionaries(
    {"name": names, "time": leaves, "values": st.dictionaries(keys, leaves, max_size=4)}
)
bodies = st.one_of(
    json_values,
    st.fixed_dictionaries({"payload": st.lists(entries | json_values, max_size=6)}),
    st.fixed_dictionaries({"samples": st.lists(json_values, max_size=6)}),
    st.dictionaries(keys, st.lists(leaves, min_size=2, max_size=2)),
)


@settings(deadline=None)  # a busy machine is no finding
@given(st.binary() | bodies.map(lambda body: json.dumps(body).encode()), st.text(), st.data())
def test_whatever_arrives_is_decoded_or_refused(payload, topic, data):
    options = Options(
        topics=("a/{stream}",),
        platform=data.draw(st.sampled_from(["ios", "android", None])),
        time_unit=data.draw(st.sampled_from(["ns", "s"])),
    )
    try:
        message = decode(payload, topic, options).message
    except Refused:
        return
    if message:
        check_message(message)
