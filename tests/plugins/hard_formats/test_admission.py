from contextlib import suppress

import pytest

from hard_formats.admission import Admission
from hard_formats.series import Refused


def refused(admission, *message):
    with pytest.raises(Refused) as caught:
        admission.admit(*message)
    return caught.value.reason


def test_only_allowed_streams_come_in():
    admission = Admission(["wrist-*"], 10, 100.0, 60.0)
    admission.admit("wrist-1", 1, 0.0)
    assert refused(admission, "phone-1", 1, 0.0) == "not_allowed"


def test_an_idle_stream_makes_room_for_another():
    admission = Admission(["*"], 2, 100.0, 60.0)
    admission.admit("a", 1, 0.0)
    admission.admit("b", 1, 1.0)
    admission.admit("a", 1, 50.0)
    assert refused(admission, "c", 1, 60.9) == "too_many_streams"
    admission.admit("c", 1, 61.0)  # in place of b
    assert refused(admission, "b", 1, 62.0) == "too_many_streams"


def test_a_stream_that_is_known_from_before_takes_a_strangers_place():
    admission = Admission(["*"], 2, 100.0, 60.0)
    admission.expect(["a", "b", "long-ago"])
    admission.admit("flood-1", 1, 0.0)
    admission.admit("flood-2", 1, 1.0)
    admission.admit("a", 1, 2.0)  # in place of flood-1, the idlest
    admission.admit("long-ago", 1, 3.0)
    assert refused(admission, "flood-1", 1, 4.0) == "too_many_streams"
    admission.admit("b", 1, 5.0)  # in place of the one known less lately
    assert refused(admission, "long-ago", 1, 6.0) == "too_many_streams"
    for stream in ("a", "b"):
        admission.admit(stream, 1, 7.0)


def test_a_known_stream_must_be_allowed_all_the_same():
    admission = Admission(["wrist-*"], 10, 100.0, 60.0)
    admission.expect(["phone-1"])
    assert refused(admission, "phone-1", 1, 0.0) == "not_allowed"


def test_a_stream_is_held_to_its_rate_over_some_seconds():
    admission = Admission(["*"], 10, 100.0, 60.0)
    dropped = 0
    for second in range(600):
        with suppress(Refused):
            admission.admit("fast", 400, float(second))
            dropped -= 1
        dropped += 1
        admission.admit("decent", 100, float(second))
    assert 400 * (600 - dropped) == pytest.approx(600 * 100 + 30 * 100, abs=400)
    assert refused(admission, "fast", 400, 600.0) == "too_fast"


def test_a_phone_that_was_out_of_reach_may_catch_up():
    admission = Admission(["*"], 10, 100.0, 60.0)
    admission.admit("phone", 1, 0.0)
    for _ in range(29):
        admission.admit("phone", 100, 30.0)


def test_what_is_too_fast_stays_bounded_in_memory():
    admission = Admission(["*"], 5, 100.0, 0.0)
    for i in range(1000):
        admission.admit(f"stream-{i}", 1, float(i))
    assert len(admission._streams) == 5
