"""The plain JSON in rows and in columns."""

import json

import numpy as np
import pytest

from hard_formats.messages import Options, decode
from tests.plugins.hard_formats.phone_messages import T0, by_sensor, decoded, refusal

PLAIN = {"samples": [{"t": T0, "accel": [0, 0, 9.81], "gyro": [0.1, 0.2, 0.3]}]}


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


@pytest.mark.parametrize(
    ("given", "taken"), [(7, 7), (0, 0), (None, None), ("7", None), (-1, None), (2**70, None)]
)
def test_a_plain_message_may_have_a_running_number(given, taken):
    columns = {"t": [T0], "accel_x": [0], "accel_y": [0], "accel_z": [9.8]}
    for body in (PLAIN, columns):
        batches = by_sensor(decoded(body | {"messageId": given}))
        assert {batch.message_id for batch in batches.values()} == {taken}


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


@pytest.mark.parametrize(
    ("t", "configured", "likely"),
    [
        (T0 // 10**3, "ns", "us"),
        (T0 // 10**6, "ns", "ms"),
        (T0 // 10**9, "ns", "s"),
        (T0 / 10**9, "ns", "s"),
        (T0, "ms", "ns"),
    ],
)
def test_a_wrong_unit_of_time_is_refused_and_the_likely_one_named(t, configured, likely):
    rows = {"samples": [{"t": None}, {"t": t, "gyro": [1, 2, 3]}]}
    columns = {"t": [t], "gyro_x": [1], "gyro_y": [1], "gyro_z": [1]}
    for body in (rows, columns):
        refused = refusal(body, time_unit=configured)
        assert refused.reason == "wrong_time_unit"
        assert f'time_unit = "{likely}"' in str(refused)


def test_an_old_recording_is_not_mistaken_for_another_unit():
    body = {"samples": [{"t": T0 - 20 * 365 * 86_400 * 10**9, "gyro": [1, 2, 3]}]}
    assert len(decoded(body).message) == 1


@pytest.mark.parametrize("up_s", [10, 1500, 1_500_000])
def test_while_this_machines_clock_is_not_set_no_unit_of_time_is_doubted(up_s):
    for unit, ns in (("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9)):
        body = json.dumps({"samples": [{"t": T0 // ns, "gyro": [1, 2, 3]}]}).encode()
        result = decode(body, Options(time_unit=unit), t_received_ns=up_s * 10**9)
        assert result.message[0].t.tolist() == [T0 // ns * ns]


def test_without_a_time_of_arrival_no_unit_of_time_is_doubted():
    body = b'{"samples": [{"t": 1700000000, "gyro": [1, 2, 3]}]}'
    assert decode(body, Options()).message[0].t.tolist() == [1_700_000_000]


def test_a_board_without_a_calendar_sends_its_own_clock():
    body = {"samples": [{"t": 1_700_000_000, "gyro": [1, 2, 3]}]}
    (batch,) = decoded(body, clock="device", time_unit="us").message
    assert batch.declared.clock == "device"
    assert batch.t.tolist() == [1_700_000_000_000]


@pytest.mark.parametrize("body", [{"samples": {"t": 1}}, {"payload": "test"}, {"t": 1}])
def test_what_is_there_but_no_list_is_told_as_that(body):
    (key,) = body
    assert str(refusal(body)).startswith(f"a message's {key} is no list but {body[key]!r}: send a")


def test_what_is_deep_where_a_list_should_be_is_cut_in_the_message():
    deep = b'{"samples": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}"
    assert len(str(refusal(deep))) < 200


def test_a_message_without_samples_is_told_with_its_keys():
    assert "neither payload, samples nor t; its keys are ['x']" in str(refusal({"x": []}))


def test_plain_json_is_understood_where_it_is_configured():
    assert decoded(PLAIN, format="plain").format == "plain"
    assert refusal({"payload": []}, format="plain").reason == "unknown_shape"
