"""What becomes of a message on its way in; what is left out is counted where it happens."""

from collections import Counter

from hard.api import Annotation
from hard_formats.devices import AT_ONCE_S
from hard_formats.messages import Decoded, Options, Refused, decode, decode_label
from hard_formats.receiving import ReceivingConfig, Reception
from tests.plugins.hard_formats.phone_messages import T0, T_RECEIVED, sample, sensor_logger


class Counts:
    """The part of a source that counts."""

    def __init__(self):
        self.counts, self.said = Counter(), []

    def __call__(self, reason, detail, n=1):
        self.counts[reason] += n
        self.said.append(detail)


def reception(**config):
    counts = Counts()
    return Reception(ReceivingConfig(**config), counts), counts


def sent(device, *entries, named="wrist-1"):
    payload = sensor_logger(*(entries or [sample("gyroscope")]), deviceId=device)
    return lambda: decode(payload, Options(), named=named, t_received_ns=T_RECEIVED)


def label_of(stream):
    return lambda: decode_label(b"walking", stream, T_RECEIVED)


def test_a_second_device_becomes_a_stream_of_its_own_and_both_ids_are_said():
    taking, counts = reception()
    label = {"name": "annotation", "time": T0, "values": {"text": "stairs"}}
    first = taking.take(sent("7F-A"), "topic", 0.0)
    second = taking.take(sent("7F-B", sample("gyroscope"), label), "topic", 1.0)
    again = taking.take(sent("7F-B"), "topic", 2.0)
    assert (first.stream, first.beside) == ("wrist-1", None)
    assert second.stream == again.stream != "wrist-1"
    assert second.stream.startswith("wrist-1-")
    assert second.beside == "wrist-1"
    assert {part.stream for part in second.message} == {second.stream}
    assert Annotation(second.stream, T0, "stairs") in second.message
    assert counts.counts == {"second_device": 2}
    assert "'7F-A'" in counts.said[0]
    assert "'7F-B'" in counts.said[0]
    assert repr(second.stream) in counts.said[0]


def test_samples_that_are_left_out_are_told_with_the_reason_and_the_remedy():
    taking, counts = reception()
    body = b'{"samples": [{"t": 1700000000000000000, "gyro": [0, 0]}]}'
    taking.take(lambda: decode(body, Options(), t_received_ns=T_RECEIVED), "topic", 0.0)
    (said,) = counts.said
    assert said.startswith("topic: 1 sample left out: ")
    assert "their values are not three numbers: send x, y and z" in said


def test_a_device_with_a_new_id_goes_on_under_its_name():
    taking, counts = reception()
    taking.take(sent("before"), "topic", 0.0)
    after = taking.take(sent("after"), "topic", AT_ONCE_S + 1)
    assert after.stream == "wrist-1"
    assert not counts.counts


def test_what_names_no_device_is_never_a_second_one():
    taking, counts = reception()
    for device in ("a", None, "a", None):
        assert taking.take(sent(device), "topic", 0.0).stream == "wrist-1"
    assert not counts.counts


def test_devices_that_are_named_by_their_ids_are_their_own_streams():
    taking, counts = reception()
    streams = [taking.take(sent(d, named=None), "topic", 0.0).stream for d in ("a", "b", "a")]
    assert streams == ["a", "b", "a"]
    assert not counts.counts


def test_a_stream_of_its_own_must_be_allowed_too():
    taking, counts = reception(allow=["wrist-1"])
    assert isinstance(taking.take(sent("a"), "topic", 0.0), Decoded)
    refused = taking.take(sent("b"), "topic", 1.0)
    assert isinstance(refused, Refused)
    assert counts.counts == {"second_device": 1, "not_allowed": 1}


def test_the_longest_name_leaves_room_for_the_second_device():
    taking, _ = reception()
    long = "x" * 64
    taking.take(sent("a", named=long), "topic", 0.0)
    second = taking.take(sent("b", named=long), "topic", 0.0)
    assert len(second.stream) == 64
    assert second.stream != long


def test_a_label_takes_no_streams_place_but_must_be_allowed():
    receiving, counts = reception(max_streams=1, allow=["wrist-*", "nobody-*"])
    for n in range(3):
        taken = receiving.take(label_of(f"nobody-{n}"), "topic", 1.0)
        assert [label.text for label in taken.message] == ["walking"]
    assert not isinstance(receiving.take(sent("phone-a"), "topic", 2.0), Refused)
    beyond = receiving.take(sent("phone-a", named="wrist-2"), "topic", 3.0)
    assert beyond.reason == "too_many_streams"
    receiving.take(label_of("stranger"), "topic", 4.0)
    assert counts.counts == {"too_many_streams": 1, "not_allowed": 1}


def test_a_bug_of_a_decoder_costs_one_message():
    def broken():
        raise ZeroDivisionError("oops")

    taking, counts = reception()
    refused = taking.take(broken, "topic 'a'", 0.0)
    assert refused.reason == "undecodable"
    assert "ZeroDivisionError('oops')" in counts.said[0]
    assert isinstance(taking.take(sent("a"), "topic", 0.0), Decoded)


def test_bad_samples_are_counted_and_the_others_taken():
    taking, counts = reception()
    bad = sample("gyroscope", 1) | {"time": "now"}
    taken = taking.take(sent("a", sample("gyroscope"), bad), "topic", 0.0)
    assert [len(batch) for batch in taken.message] == [1]
    assert counts.counts == {"bad_time": 1}
