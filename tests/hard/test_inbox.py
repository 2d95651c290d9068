"""The inbox by itself, in one thread."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import NS_PER_S, Annotation, Declared, Resume, SampleBatch, Silence
from hard.inbox import Inbox, Request

YEAR_S = 365.25 * 86_400


def batch(stream, n, samples=1, max_delay_s=0.0):
    return SampleBatch(
        stream,
        "accel",
        np.full(samples, n, np.int64),
        np.zeros((samples, 3), np.float32),
        Declared("m/s2", max_delay_s=max_delay_s),
    )


def test_the_oldest_message_is_dropped_and_counted_at_the_bound(caplog):
    inbox = Inbox(3, 1000, 10.0)
    for n in range(5):
        inbox.put([batch("phone-1", n, samples=2)])
    assert [int(inbox.take(0)[0].t[0]) for _ in range(3)] == [2, 3, 4]
    assert inbox.take(0) is None
    assert inbox.counts == {"dropped_messages": 2, "dropped_samples": 4}
    assert len(caplog.records) == 1


def test_samples_are_bounded_too():
    inbox = Inbox(100, 10, 10.0)
    for n in range(3):
        inbox.put([batch("phone-1", n, samples=4), Annotation("phone-1", 0, "walking")])
    inbox.put([batch("phone-1", 9, samples=11)])
    assert [int(inbox.take(0)[0].t[0]) for _ in range(2)] == [1, 2]
    assert inbox.counts == {"dropped_messages": 2, "dropped_samples": 15}


def test_who_floods_costs_the_others_nothing():
    for bounds, samples in (((8, 1000), 1), ((1000, 80), 10)):
        inbox = Inbox(*bounds, 10.0)
        for n in range(4):
            inbox.put([batch(f"phone-{n}", n, samples)])
        for n in range(100):
            inbox.put([batch("hot", n, samples)])
        inbox.put([batch("phone-9", 9, samples)])
        left = []
        while item := inbox.take(0):
            left.append((item[0].stream, int(item[0].t[0])))
        assert left == [*((f"phone-{n}", n) for n in range(4)), *(("hot", n) for n in (97, 98, 99)),
                        ("phone-9", 9)]  # fmt: skip
        assert inbox.counts["dropped_messages"] == 97


@pytest.mark.parametrize(("bounds", "samples"), [((50, 10_000), 1), ((1000, 500), 10)])
def test_a_flood_of_names_on_one_source_costs_the_stream_of_another_nothing(bounds, samples):
    inbox = Inbox(*bounds, 10.0)
    for n in range(2000):
        inbox.put([batch(f"flood-{n}", n, samples)], "degs")
        if n % 100 == 0:
            inbox.put([batch("anna", n, samples)], "phone")
    left = []
    while item := inbox.take(0):
        left.append((item[0].stream, int(item[0].t[0])))
    assert [n for stream, n in left if stream == "anna"] == list(range(0, 2000, 100))
    assert len(left) == 50
    assert inbox.counts["dropped_messages"] == 2020 - 50


@given(st.lists(st.sampled_from(["x", "y", "z", "anna", "taken"]), max_size=80))
def test_whatever_comes_and_goes_a_source_with_no_more_than_its_half_loses_nothing(steps):
    inbox, sent, taken = Inbox(8, 1000, 10.0), [], []

    def take():
        if item := inbox.take(0):
            taken.append((item[0].stream, int(item[0].t[0])))
            return True
        return False

    def of_anna(messages):
        return [message for message in messages if message[0] == "anna"]

    for n, step in enumerate(steps):
        if step == "taken":
            take()
        elif step != "anna" or len(of_anna(sent)) - len(of_anna(taken)) < 4:
            inbox.put([batch(step, n)], "phone" if step == "anna" else "degs")
            sent.append((step, n))
    while take():
        pass
    assert of_anna(taken) == of_anna(sent)
    assert taken == sorted(taken, key=lambda message: message[1])
    assert len(sent) == len(taken) + inbox.counts["dropped_messages"]


def test_a_request_is_not_dropped_for_a_flood():
    inbox = Inbox(16, 1000, 10.0)
    requests = [Request(Resume("anna")) for _ in range(3)]
    for request in requests:
        inbox.ask(request)
    for n in range(100):
        inbox.put([batch(f"flood-{n}", n)], "degs")
    assert [inbox.take(0) for _ in requests] == requests


def test_after_closing_nothing_comes_in_and_the_rest_comes_out():
    inbox = Inbox(100, 100, 10.0)
    inbox.put([batch("phone-1", 1)])
    inbox.close()
    inbox.put([batch("phone-1", 2)])
    assert not inbox.exhausted
    assert inbox.take(0)[0].t[0] == 1
    assert inbox.exhausted
    assert inbox.counts["dropped_messages"] == 1


@pytest.mark.parametrize(
    ("off_s", "said"),
    [
        (-53 * YEAR_S, "53 years behind"),
        (54 * YEAR_S, "54 years ahead of"),
        (-1.5 * YEAR_S, "548 days behind"),
        (7200, "2 hours ahead of"),  # daylight saving, a wrong time zone
        (-605, "10 minutes behind"),
    ],
)
def test_a_clock_far_off_is_told_once_of_each_stream_and_stays_in_its_status(caplog, off_s, said):
    inbox = Inbox(100, 100, 10.0)
    now_ns = 1_750_000_000 * NS_PER_S
    for n in range(3):
        stamp_ns = now_ns + round(off_s) * NS_PER_S + n
        inbox.put([replace(batch("phone-1", stamp_ns), t_received_ns=now_ns + n)])
    sentence = f"its clock is {said} this machine's"
    assert inbox.streams()["phone-1"]["clock"] == sentence
    assert [sentence in record.message for record in caplog.records] == [True]
    assert inbox.counts == {"clocks_far_off": 1}
    inbox.put([replace(batch("phone-1", now_ns), t_received_ns=now_ns)])
    assert "clock" not in inbox.streams()["phone-1"]


@pytest.mark.parametrize(
    ("stamp_s", "received_s", "clock"),
    [
        (1_750_000_000 - 590, 1_750_000_000, "epoch"),  # kept by a phone for ten minutes
        (7, 1_750_000_000, "device"),  # since the phone's boot
        (1_750_000_000, 100, "epoch"),  # this machine has no clock of its own yet
        (7, None, "epoch"),  # a file
    ],
)
def test_a_clock_that_cannot_be_compared_is_not_doubted(caplog, stamp_s, received_s, clock):
    inbox = Inbox(100, 100, 10.0)
    received_ns = received_s and received_s * NS_PER_S
    declared = Declared("m/s2", clock=clock)
    sent = batch("phone-1", stamp_s * NS_PER_S)
    inbox.put([replace(sent, t_received_ns=received_ns, declared=declared)])
    assert "clock" not in inbox.streams()["phone-1"]
    assert not caplog.records


def test_what_no_source_may_emit_is_refused():
    with pytest.raises(TypeError, match="SampleBatch and Annotation only"):
        Inbox(1, 1, 1.0).put(["walking"])


def test_silence_comes_after_all_that_arrived_before_it():
    inbox = Inbox(100, 100, 0.0)
    inbox.put([batch("phone-1", 1)])
    inbox.put([batch("phone-2", 1)])
    time_passed = threading.Event()
    assert not time_passed.wait(0.01)
    inbox.put([batch("phone-3", 1, max_delay_s=60.0)])
    taken = [inbox.take(0) for _ in range(5)]
    order = [each.stream if isinstance(each, Silence) else each[0].t[0] for each in taken]
    assert order == [1, "phone-1", 1, "phone-2", 1]
    assert inbox.take(0) is None  # phone-3 may yet be a minute late


def test_all_who_fell_silent_are_told_without_a_wait_for_each():
    inbox = Inbox(100, 1000, 0.0)
    streams = {f"phone-{n}" for n in range(20)}
    for stream in streams:
        inbox.put([batch(stream, 1)])
    began_s, told = time.monotonic(), set()
    while told != streams:
        item = inbox.take(0.5)
        told |= {item.stream} if isinstance(item, Silence) else set()
    assert time.monotonic() - began_s < 5.0


def test_a_pause_ends_by_itself_in_its_turn_unless_it_was_set_otherwise():
    inbox = Inbox(100, 100, 60.0)
    inbox.resume_after("phone-1", 0.0)
    inbox.resume_after("phone-2", 0.0)
    inbox.resume_after("phone-2", None)
    inbox.resume_after("phone-3", 3600.0)
    assert inbox.pause_left_s("phone-2") is None
    assert 3590 < inbox.pause_left_s("phone-3") <= 3600
    assert inbox.take(0) == Resume("phone-1")
    assert inbox.take(0) is None
    assert inbox.pause_left_s("phone-1") is None


def test_other_bounds_hold_for_what_comes():
    inbox = Inbox(100, 1000, 60.0)
    for n in range(5):
        inbox.put([batch("phone-1", n)])
    inbox.limit(3, 60.0)
    inbox.put([batch("phone-1", 5)])
    assert [int(inbox.take(0)[0].t[0]) for _ in range(3)] == [3, 4, 5]
