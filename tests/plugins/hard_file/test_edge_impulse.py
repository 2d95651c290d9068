"""Edge Impulse's JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from tests.plugins.hard_file.reading import Read, write

SENSORS = [("accX", "m/s2"), ("accY", "m/s2"), ("accZ", "m/s2")]
GYRO = [("gyrX", "dps"), ("gyrY", "dps"), ("gyrZ", "dps")]
ROW = [0.5, 9.5, 0.25]


def body(values, sensors=SENSORS, interval_ms=10):
    return {
        "protected": {"ver": "v1", "alg": "HS256", "iat": 1_600_000_000},
        "signature": "0" * 64,
        "payload": {
            "device_name": "wrist",
            "device_type": "NANO33BLE",
            "interval_ms": interval_ms,
            "sensors": [{"name": name, "units": units} for name, units in sensors],
            "values": values,
        },
    }


def read(tmp_path, content, **options):
    text = content if isinstance(content, str) else json.dumps(content)
    return Read(write(tmp_path, {"wrist.json": text}) / "wrist.json", **options)


def test_rows_stand_at_their_interval_in_the_units_of_the_file(tmp_path):
    found = read(tmp_path, body([[*ROW, 1, 2, 3]] * 3, SENSORS + GYRO, 16.0))
    assert (found.info.format, found.info.clock) == ("edge_impulse", "relative")
    assert found.t() == found.t("gyro") == [0, 16_000_000, 32_000_000]
    assert (found.values()[0], found.values("gyro")[2]) == (ROW, [1, 2, 3])
    declared = found.info.declared
    assert (declared["accel"].unit, declared["gyro"].unit) == ("m/s2", "deg/s")
    assert declared["accel"].rate_hz == 62.5


def test_columns_are_found_by_name_in_any_order_among_others(tmp_path):
    sensors = [("temp", "C"), ("accel_z", "g"), ("accel_x", "g"), ("accel_y", "g")]
    found = read(tmp_path, body([[20, 0.25, 0.5, 9.5]], sensors))
    assert found.values() == [ROW]
    assert found.info.declared["accel"].unit == "g"


def test_a_unit_that_the_file_does_not_tell_is_the_options(tmp_path):
    sensors = [(name, "N/A") for name, _ in SENSORS]
    assert read(tmp_path, body([ROW], sensors)).info.declared["accel"].unit == "m/s2"
    found = read(tmp_path, body([ROW], sensors), accel_unit="g", platform="ios")
    assert found.info.declared["accel"].unit == "g"
    assert (found.info.sign, "accel in g (configured)" in found.info.reason) == (-1, True)


def test_a_bad_row_is_counted_and_leaves_its_time_empty(tmp_path):
    bad = [[1, 2], [None, 1, 2], "row", ["1", 2, 3], [1e40, 0, 0], [True, 0, 0]]
    found = read(tmp_path, body([ROW, *bad, ROW]))
    assert found.t() == [0, 70_000_000]
    assert found.skipped == {"bad_row": 6}
    assert "row 2 is not 3 readings" in found.said[0]


def test_a_long_recording_comes_in_several_messages_without_a_seam(tmp_path):
    found = read(tmp_path, body([ROW] * 10_000))
    assert len(found.batches) > 2
    assert found.t() == [k * 10_000_000 for k in range(10_000)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (body([ROW], SENSORS[:2]), r"no accX, accY, accZ \(found 'accX', 'accY'\)"),
        (body([ROW], interval_ms=0), "interval_ms is 0; it must be the ms"),
        (body([ROW], interval_ms="10"), "interval_ms is '10'"),
        (body([]), "not one usable row"),
        ({"payload": {"interval_ms": 10}}, r"has no payload\.values"),
        (json.dumps(body([ROW]))[:-20], "is no whole JSON"),
        ("{" * 100_000, "is no whole JSON"),
    ],
)
def test_what_is_no_such_file_is_refused_with_the_reason(tmp_path, content, why):
    with pytest.raises(UnusableInput, match=why):
        read(tmp_path, content)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["interval_ms", "sensors", "values"]), anything),
    st.lists(anything, max_size=5),
)
def test_arbitrary_contents_raise_nothing_but_unusable_input(tmp_path_factory, payload, rows):
    content = body([ROW, *rows])
    content["payload"].update(payload)
    try:
        found = read(tmp_path_factory.mktemp("any"), content)
    except UnusableInput as error:
        assert "wrist.json" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert len(found.t()) >= 1
