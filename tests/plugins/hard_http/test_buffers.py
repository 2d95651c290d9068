"""What phyphox answers, in every shape it may have."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard_http.buffers import Buffers, NoGravityError, Series, sensors_of, usual_sensors

ACCEL = Buffers("accel", "t", "x", "y", "z")


def config(*sources, axes="txyz"):
    inputs = [{"source": s, "outputs": [{a: f"{s}_{a}"} for a in axes]} for s in sources]
    return {"title": "Mine", "inputs": inputs}


def answer(t, x, y=None, z=None):
    columns = {"t": t, "x": x, "y": x if y is None else y, "z": x if z is None else z}
    return {name: {"size": 0, "buffer": values} for name, values in columns.items()}


def sensors(found):
    return [buffers.sensor for buffers in found]


def test_the_buffers_are_those_that_the_experiment_names():
    found = sensors_of(config("audio", "accelerometer", "gyroscope"))
    assert found[0] == Buffers(
        "accel", "accelerometer_t", "accelerometer_x", "accelerometer_y", "accelerometer_z"
    )
    assert sensors(found) == ["accel", "gyro"]


def test_acceleration_with_gravity_is_preferred_to_its_parts():
    everything = config("linear_acceleration", "gravity", "gyroscope", "accelerometer")
    assert sensors(sensors_of(everything)) == ["gyro", "accel"]
    parts = config("linear_acceleration", "gravity")
    assert sensors(sensors_of(parts)) == ["linear_accel", "gravity"]


def test_linear_acceleration_alone_is_refused_by_name():
    with pytest.raises(NoGravityError, match="'Mine' has linear acceleration only"):
        sensors_of(config("linear_acceleration", "gyroscope"))


def test_an_experiment_without_accelerometer_is_refused_by_name():
    for other in (config("gyroscope"), config(), config("accelerometer", axes="t")):
        with pytest.raises(NoGravityError, match="'Mine' has no accelerometer"):
            sensors_of(other)


def test_the_usual_names_serve_where_there_is_no_config():
    names = ["acc_time", "accX", "accY", "accZ", "gyrX"]
    assert sensors(usual_sensors(dict.fromkeys(names))) == ["accel"]
    linear = ["lin_acc_time", "lin_accX", "lin_accY", "lin_accZ"]
    with pytest.raises(NoGravityError, match="linear acceleration only"):
        usual_sensors(dict.fromkeys(linear))


def test_reading_begins_with_the_last_sample_and_asks_for_newer_ones():
    series = Series(ACCEL)
    assert series.query() == {"t": "", "x": "", "y": "", "z": ""}
    new = series.take(answer([1.25], [0.5]))
    assert (new.t.tolist(), new.values.tolist()) == ([1_250_000_000], [[0.5, 0.5, 0.5]])
    assert (new.t.dtype, new.values.dtype) == (np.int64, np.float32)
    assert series.query() == {"t": "1.25", "x": "1.25|t", "y": "1.25|t", "z": "1.25|t"}


def test_empty_buffers_are_no_fault_at_the_beginning():
    series = Series(ACCEL)
    assert series.take(answer([None], [None])).unusable == 0
    assert series.take(answer([], [])).unusable == 0
    assert series.query()["t"] == ""


def test_a_sample_with_a_null_is_left_out_and_counted():
    series = Series(ACCEL, newest_s=1.0, asks_last=False)
    new = series.take(answer([1.1, 1.2, None, 1.4], [0.0, None, 0.0, 1e39], [1.0] * 4, [2.0] * 4))
    assert new.t.tolist() == [1_100_000_000]
    assert new.unusable == 3


def test_buffers_of_unequal_length_give_their_common_beginning():
    series = Series(ACCEL, newest_s=1.0, asks_last=False)
    assert series.take(answer([1.1, 1.2, 1.3], [0.0, 0.0])).t.tolist() == [
        1_100_000_000,
        1_200_000_000,
    ]
    assert series.query()["t"] == "1.2"


def test_what_was_already_read_is_not_read_again():
    series = Series(ACCEL, newest_s=1.0, asks_last=False)
    assert series.take(answer([0.9, 1.0, 1.1], [0.0] * 3)).t.tolist() == [1_100_000_000]
    assert len(series.take(answer([1.1], [0.0])).t) == 0


def test_times_behind_the_newest_are_a_new_beginning():
    series = Series(ACCEL, newest_s=100.0, asks_last=False)
    assert len(series.take(answer([0.0, 0.1], [0.0] * 2)).t) == 2
    assert series.query()["t"] == "0.1"


def test_eight_digits_of_a_long_session_come_back_as_they_came():
    series = Series(ACCEL)
    series.take(answer([float("1.2345678E4")], [0.0]))
    assert series.query()["t"] == "12345.678"


@pytest.mark.parametrize(
    "buffers",
    [None, [], {}, answer("1", [0.0]), answer([True], [0.0]), answer([["1"]], [0.0]), {"t": 1}],
)
def test_what_is_no_answer_is_refused(buffers):
    with pytest.raises(ValueError, match="lacks the buffer 't'"):
        Series(ACCEL).take(buffers)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
)
some_floats = st.lists(st.none() | st.floats(), max_size=8)


@given(json_values, st.sampled_from([[], ["outputs"], ["inputs"]]))
def test_any_config_is_read_or_refused(value, wrap):
    for key in wrap:
        value = {"title": "x", "source": "accelerometer", key: value}
    for body in (value, {"inputs": value}, {"inputs": [value]}):
        try:
            assert sensors_of(json.loads(json.dumps(body)))
        except (ValueError, NoGravityError):
            continue


@given(some_floats, some_floats, st.none() | st.floats(0, 1e6), st.booleans())
def test_whatever_numbers_come_only_good_samples_go_on(t, x, newest_s, asks_last):
    series = Series(ACCEL, newest_s, asks_last)
    new = series.take(answer(t, x))
    assert len(new.t) == len(new.values) <= min(len(t), len(x))
    assert np.isfinite(new.values).all()
    assert (new.t >= 0).all()
