"""`decode`: telling the formats apart, naming streams, and what can't be used at all."""

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import Annotation
from hard.testing import check_message
from hard_formats.messages import Options, Refused, decode, decode_buffer, decode_label
from hard_formats.phyphox import BufferJoiner
from tests.plugins.hard_formats.phone_messages import (
    T0,
    T_RECEIVED,
    android_event,
    decoded,
    refusal,
    sample,
    sensor_logger,
)

PLAIN = {"samples": [{"t": T0, "accel": [0, 0, 9.81], "gyro": [0.1, 0.2, 0.3]}]}
PHYPHOX = {"accX": [1], "accY": [2], "accZ": [3], "acc_time": [4.5]}
EVENT = json.loads(android_event())
LOGGER = json.loads(sensor_logger(sample("gyroscope")))
FORMATS = {"plain": PLAIN, "phyphox_json": PHYPHOX, "android": EVENT, "sensor_logger": LOGGER}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_message_tells_its_format(kind):
    assert decoded(FORMATS[kind]).format == kind
    assert decoded(FORMATS[kind], format=kind).message


@pytest.mark.parametrize("kind", FORMATS)
def test_a_configured_format_takes_no_other(kind):
    for body in (body for other, body in FORMATS.items() if other != kind):
        assert refusal(body, format=kind).reason == "unknown_shape"


def test_a_comma_list_needs_its_topic():
    assert refusal({}, format="phyphox_csv").reason == "unknown_shape"


def test_without_a_device_id_the_fallback_is_the_stream():
    result = decoded(sensor_logger(sample("gyroscope"), deviceId=None), "home/phone")
    assert result.stream.startswith("home_phone_")


def test_an_unsafe_device_id_is_escaped():
    result = decoded(sensor_logger(sample("gyroscope"), deviceId="../#/\n"))
    check_message(result.message)
    assert result.stream.startswith("______")


def test_the_transport_names_the_stream():
    for body in (PLAIN | {"stream": "wrist-1"}, LOGGER, EVENT, PHYPHOX):
        payload = json.dumps(body).encode()
        assert decode(payload, Options(), named="wrist-1").stream == "wrist-1"


def test_a_payload_that_claims_another_stream_than_its_transport_is_refused():
    with pytest.raises(Refused, match="claims to be 'wrist-2'") as caught:
        decode(json.dumps(PLAIN | {"stream": "wrist-2"}).encode(), Options(), named="wrist-1")
    assert caught.value.reason == "other_stream"


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
    assert refusal(body).reason == reason


def test_a_message_over_the_limit_is_refused_before_parsing():
    assert refusal(b"[" * 2000, max_payload_bytes=1999).reason == "too_large"


@pytest.mark.parametrize(
    ("payload", "label"),
    [
        (b"stairs", Annotation("wrist-1", T_RECEIVED, "stairs")),
        (" Stühle rücken\n".encode(), Annotation("wrist-1", T_RECEIVED, "Stühle rücken")),
        (b"", Annotation("wrist-1", T_RECEIVED, "")),
        (b'{"label": "stairs"}', Annotation("wrist-1", T_RECEIVED, "stairs")),
        (b'{"label": "", "t": %d}' % T0, Annotation("wrist-1", T0, "")),
    ],
)
def test_a_label_alone_is_text_or_json(payload, label):
    result = decode_label(payload, "wrist-1", T_RECEIVED)
    assert result.message == [label]
    check_message(result.message)


def test_a_label_comes_through_while_this_machines_clock_is_not_set():
    up_ns = 300 * 10**9
    for payload, t in ((b"stairs", up_ns), (b'{"label": "stairs", "t": %d}' % T0, T0)):
        assert decode_label(payload, "w", up_ns).message == [Annotation("w", t, "stairs")]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"x" * 201, "bad_label"),
        (b"x" * 3000, "too_large"),
        (b"\xff", "bad_label"),
        (b"a\nb", "bad_label"),
        (b"a\0b", "bad_label"),
        (b"{", "not_json"),
        (b"{}", "bad_label"),
        (b'{"label": 1}', "bad_label"),
        (b'{"label": "\\ud800"}', "bad_label"),
        (b'{"label": "a", "time": 1}', "bad_label"),
        (b'{"label": "a", "t": null}', "bad_time"),
        (b'{"label": "a", "t": true}', "bad_time"),
        (b'{"label": "a", "t": 1.7e18}', "bad_time"),
        (b'{"label": "a", "t": 1700000000}', "bad_time"),
        (b'{"label": "a", "t": -1}', "bad_time"),
        (b'{"label": "a", "t": %d}' % 10**30, "bad_time"),
    ],
)
def test_what_is_no_label_is_refused_by_name(payload, reason):
    with pytest.raises(Refused) as caught:
        decode_label(payload, "wrist-1", T_RECEIVED)
    assert caught.value.reason == reason


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode), st.text())
def test_any_label_is_decoded_or_refused(payload, named):
    with suppress(Refused):
        check_message(decode_label(payload, named, T_RECEIVED).message)


leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    *(st.just(T0), st.sampled_from(["gyroscope", "annotation", "START", "accelerometer"])),
)
keys = st.sampled_from(
    [
        *sorted({key for body in FORMATS.values() for key in body}),
        *("name", "time", "x", "y", "z", "accel", "gyro", "stream", "t", "text", "now", "event"),
        *("gyro_x", "gyro_y", "gyro_z", "gyr_time", "linX", "events", "systemTime"),
    ]
)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)


@st.composite
def mutated(draw):
    """Draw a valid message with some of its leaves, lists or objects replaced, or its bytes cut."""

    def mutate(value):
        if draw(st.integers(0, 9)) == 0:
            return draw(json_values)
        if isinstance(value, dict):
            return {key: mutate(inner) for key, inner in value.items()}
        return [mutate(inner) for inner in value] if isinstance(value, list) else value

    clock = {"now": 1.7e9, "events": [{"event": "START", "experimentTime": 0, "systemTime": 1e9}]}
    body = draw(st.sampled_from([*FORMATS.values(), PHYPHOX | {"time": clock}]))
    payload = json.dumps(mutate(body)).encode()
    return payload[: draw(st.integers(0, len(payload)))] if draw(st.booleans()) else payload


option_sets = st.builds(
    Options,
    format=st.sampled_from(["auto", "auto", "auto", *FORMATS, "phyphox_csv"]),
    platform=st.sampled_from(["ios", "android", None]),
    time_unit=st.sampled_from(["ns", "s"]),
    clock=st.sampled_from(["epoch", "device"]),
)
junk = st.binary() | json_values.map(lambda body: json.dumps(body).encode())


@settings(deadline=None)  # a busy machine is no finding
@given(junk | mutated(), option_sets, st.text(), st.sampled_from([T_RECEIVED, None]))
def test_whatever_arrives_is_decoded_or_refused(payload, options, fallback, t_received_ns):
    try:
        result = decode(payload, options, fallback=fallback, t_received_ns=t_received_ns)
    except Refused:
        return
    assert isinstance(result.skipped, Counter)
    if result.message:
        check_message(result.message)


buffers = st.tuples(
    st.sampled_from(["a/accX", "a/accY", "a/accZ", "a/acc_time", "accX", "b/gyrX", "pressure"]),
    st.binary(max_size=9)
    | st.lists(st.floats() | st.just("null")).map(lambda v: ",".join(map(str, v)).encode()),
)


@settings(deadline=None)  # a busy machine is no finding
@given(st.lists(buffers, max_size=20))
def test_whatever_buffers_arrive_are_joined_or_refused(messages):
    joiner = BufferJoiner()
    for topic, payload in messages:
        try:
            message = decode_buffer(joiner, topic, payload, Options()).message
        except Refused:
            continue
        if message:
            check_message(message)
