"""phyphox's network connections, in one message and in one message a buffer."""

import json

import pytest

from hard_formats.messages import Options, Refused, decode_buffer
from hard_formats.phyphox import BufferJoiner, buffer_role
from tests.plugins.hard_formats.phone_messages import T_RECEIVED, by_sensor, decoded, refusal

ACC = {"accX": [0.5, 0.25], "accY": [1, 2], "accZ": [9.5, 9.75], "acc_time": [12.01, 12.02]}
START_S = 1_700_000_000.125


def with_events(*events):
    return {"time": {"now": START_S + 99, "events": list(events)}}


def event(name, experiment_s, system_s):
    return {"event": name, "experimentTime": experiment_s, "systemTime": system_s}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("accX", ("accel", "x")),
        ("acc_time", ("accel", "t")),
        ("AccG_Y", ("accel", "y")),
        ("linZ", ("linear_accel", "z")),
        ("lin_accX", ("linear_accel", "x")),
        ("lin_acc_time", ("linear_accel", "t")),
        ("AccNoG_Z", ("linear_accel", "z")),
        ("gyrX", ("gyro", "x")),
        ("gyro_time", ("gyro", "t")),
        ("gravX", ("gravity", "x")),
        ("acc", None),
        ("magX", None),
        ("light_time", None),
        ("account", None),
        ("accX" + " " * 40, None),
    ],
)
def test_buffers_are_known_by_their_usual_names(name, role):
    assert buffer_role(name) == role


def test_seconds_since_the_start_are_the_phones_own_clock():
    result = decoded(ACC | {"gyrX": 1, "gyrY": 2, "gyrZ": 3, "gyr_time": 12.5, "pressure": [1]})
    accel, gyro = by_sensor(result).values()
    assert accel.t.tolist() == [12_010_000_000, 12_020_000_000]
    assert accel.values.tolist() == [[0.5, 1.0, 9.5], [0.25, 2.0, 9.75]]
    assert (accel.declared.unit, accel.declared.sign) == ("m/s2", 1)
    assert (gyro.sensor, gyro.declared.unit, gyro.t.tolist()) == ("gyro", "rad/s", [12_500_000_000])
    assert {accel.declared.clock, gyro.declared.clock} == {"device"}
    assert accel.t_received_ns == T_RECEIVED


def test_with_the_time_of_the_start_they_become_the_epoch():
    (accel,) = decoded(ACC | with_events(event("START", 0.0, START_S))).message
    assert accel.declared.clock == "epoch"
    assert accel.t.tolist() == [1_700_000_012_135_000_000, 1_700_000_012_145_000_000]


def test_after_a_pause_the_later_start_counts():
    events = [
        event("START", 0.0, START_S),
        event("PAUSE", 12.015, START_S + 12.015),
        event("START", 12.015, START_S + 60.015),
    ]
    (accel,) = decoded(ACC | with_events(*events)).message
    elapsed_s = (accel.t - 1_700_000_000_125_000_000) / 1e9
    assert elapsed_s.tolist() == pytest.approx([12.01, 60.02], abs=1e-6)


@pytest.mark.parametrize("broken", [None, {}, event("START", None, 1.0), event("PAUSE", 0, 1.0)])
def test_without_a_usable_start_the_clock_stays_the_phones(broken):
    (accel,) = decoded(ACC | with_events(broken)).message
    assert accel.declared.clock == "device"


def test_linear_acceleration_is_never_taken_for_acceleration():
    body = {"linX": [1], "linY": [2], "linZ": [3], "lin_time": [4]}
    assert list(by_sensor(decoded(body))) == ["linear_accel"]


def test_a_time_without_a_sensors_name_serves_all():
    body = {"AccG_X": 1, "AccG_Y": 2, "AccG_Z": 3, "Timestamp": 4.5}
    assert by_sensor(decoded(body))["accel"].t.tolist() == [4_500_000_000]


def test_null_is_a_value_that_is_none_and_costs_its_sample():
    result = decoded(ACC | {"accY": [None, 2]})
    assert by_sensor(result)["accel"].t.tolist() == [12_020_000_000]
    assert result.skipped == {"not_finite": 1}


@pytest.mark.parametrize(
    ("missing", "said"),
    [("acc_time", "without the time"), ("accZ", "without axis z")],
)
def test_a_missing_buffer_is_named(missing, said):
    refused = refusal({name: values for name, values in ACC.items() if name != missing})
    assert refused.reason == "buffer_missing"
    assert said in str(refused)
    assert "<send>" in str(refused)


def test_buffers_of_different_lengths_are_refused():
    assert refusal(ACC | {"accX": [1]}).reason == "unequal_columns"


def sent(joiner, *messages, **options):
    return [
        decode_buffer(joiner, topic, payload, Options(**options), t_received_ns=T_RECEIVED)
        for topic, payload in messages
    ]


CSV = [
    ("lab/accX", b"0.5,0.25"),
    ("lab/accY", b"1.0,2.0"),
    ("lab/accZ", b"9.5,null"),
    ("lab/acc_time", b"12.01,12.02"),
]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_four_buffers_are_joined_whatever_comes_last(order):
    *waiting, last = sent(BufferJoiner(), *(CSV[i] for i in order))
    assert all(result.message == [] for result in waiting)
    (batch,) = last.message
    assert (last.stream, last.format) == ("lab", "phyphox_csv")
    assert batch.t.tolist() == [12_010_000_000]
    assert batch.values.tolist() == [[0.5, 1.0, 9.5]]
    assert batch.declared.clock == "device"
    assert last.skipped == {"not_finite": 1}


def test_phones_and_sensors_do_not_mix():
    joiner = BufferJoiner()
    other = [(topic.replace("lab", "gym"), payload) for topic, payload in CSV]
    gyro = [(topic.replace("acc", "gyr"), payload) for topic, payload in CSV]
    interleaved = [message for three in zip(CSV, other, gyro, strict=True) for message in three]
    results = sent(joiner, *interleaved)
    assert [(r.stream, b.sensor) for r in results for b in r.message] == [
        ("lab", "accel"),
        ("gym", "accel"),
        ("lab", "gyro"),
    ]


def test_a_set_that_stays_incomplete_is_refused_by_name_each_time():
    joiner = BufferJoiner()
    sent(joiner, *CSV[:3])
    for _ in range(3):
        with pytest.raises(Refused, match=r"'accX', 'accY', 'accZ' .*without the time") as caught:
            sent(joiner, CSV[0])
        assert caught.value.reason == "unjoined"
        sent(joiner, *CSV[1:3])
    assert sent(joiner, CSV[3])[0].message


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(Refused) as caught:
        sent(BufferJoiner(), *CSV[:3], ("lab/acc_time", b"12.01"))
    assert caught.value.reason == "unequal_columns"


def test_an_empty_buffer_is_no_samples():
    result = sent(BufferJoiner(), *((topic, b"") for topic, _ in CSV))[-1]
    assert result.message == []
    assert not +result.skipped


def test_words_are_counted_not_read():
    result = sent(BufferJoiner(), *CSV[:3], ("lab/acc_time", b"12.01,soon"))[-1]
    assert result.skipped == {"bad_time": 1}


def test_other_buffers_topics_are_refused_by_name():
    with pytest.raises(Refused, match="pressure") as caught:
        sent(BufferJoiner(), ("lab/pressure", b"1"))
    assert caught.value.reason == "unknown_buffer"


def test_a_list_over_the_limit_is_refused():
    with pytest.raises(Refused) as caught:
        sent(BufferJoiner(), ("lab/accX", b"1," * 600), max_payload_bytes=1024)
    assert caught.value.reason == "too_large"


def test_what_waits_is_bounded():
    joiner = BufferJoiner()
    for i in range(1000):
        sent(joiner, (f"{i}/accX", b"1," * 50_000))
    assert joiner._pending_bytes <= 8_388_608
    assert joiner._pending_bytes == sum(
        len(payload) + len(prefix) + len(name)
        for (prefix, _), waiting in joiner._pending.items()
        for name, payload in waiting.values()
    )


def test_the_json_of_an_experiment_may_be_configured():
    assert decoded(json.dumps(ACC).encode(), format="phyphox_json").message
    assert refusal({"magX": [1]}, format="phyphox_json").reason == "unknown_shape"
