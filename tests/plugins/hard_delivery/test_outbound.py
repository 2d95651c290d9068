from email.utils import formatdate
from time import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import SinkUnavailable
from hard.testing import sample_events
from hard_delivery.outbound import Outbound
from hard_delivery.posting import Answer


class Far:
    """A receiver: refuses some events, takes the others, and may be down."""

    def __init__(self, poison=(), batch=1):
        self.poison, self.status, self.retry_after = set(poison), None, ""
        self.taken, self.requests = [], 0
        self.counts = {}
        self.outbound = Outbound(self.send, self.skip, batch=batch, timeout_s=1.0)

    def skip(self, reason, _):
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def send(self, events):
        self.requests += 1
        seqs = [event.seq for event in events]
        if self.status is not None:
            return Answer(self.status, self.retry_after, "/elsewhere", "no")
        if self.poison.intersection(seqs):
            return Answer(422, "", "", "not this one")
        self.taken += seqs
        return Answer(204, "", "", "")


class Link:
    """Uses it as the runtime does: what is not confirmed is given again after an outage."""

    def __init__(self, far, n):
        self.far, self.events = far, sample_events(n)
        self.confirmed, self.outages = set(), []

    def session(self, seconds=10):
        """Open, write, look so often; return whether all went well."""
        try:
            self.far.outbound.open()
            left = [event for event in self.events if event.seq not in self.confirmed]
            self.far.outbound.take(left, self.confirmed.add)
            for _ in range(seconds):
                self.far.outbound.go()
        except SinkUnavailable as outage:
            self.outages.append(str(outage))
            return False
        return True


def test_events_go_one_by_one_and_are_confirmed_by_their_answer():
    far = Far()
    link = Link(far, 5)
    assert link.session()
    assert far.taken == [1, 2, 3, 4, 5]
    assert link.confirmed == {1, 2, 3, 4, 5}
    assert far.requests == 5


def test_events_go_in_batches_if_asked_so():
    far = Far(batch=4)
    assert Link(far, 10).session()
    assert far.taken == list(range(1, 11))
    assert far.requests == 3


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_refused_event_is_set_aside_after_three_tries_and_the_others_go_on(batch):
    far = Far(poison=[3], batch=batch)
    link = Link(far, 10)
    assert link.session()
    assert far.taken == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert link.confirmed == set(range(1, 11))
    assert far.counts == {"refused": 3, "set_aside": 1}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_receiver_that_refuses_everything_costs_nothing_and_is_told(status):
    far = Far()
    far.status = status
    link = Link(far, 20)
    for _ in range(40):
        assert not link.session()
    assert link.confirmed == set()
    assert f"HTTP {status}: 'no'" in link.outages[-1]
    far.status = None
    assert link.session()
    assert far.taken == list(range(1, 21))
    assert "set_aside" not in far.counts


def test_the_last_event_is_not_given_up_before_another_was_taken():
    far = Far(poison=[1])
    link = Link(far, 1)
    assert not link.session()
    assert link.confirmed == set()
    link.events = sample_events(2)
    assert link.session()
    assert link.confirmed == {1, 2}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_receiver_that_is_busy_is_away(status):
    far = Far()
    far.status = status
    link = Link(far, 3)
    assert not link.session()
    assert "the receiver can't take events now" in link.outages[0]
    assert far.requests == 1
    far.status = None
    assert link.session()
    assert far.taken == [1, 2, 3]
    assert far.counts == {}


def test_a_redirect_is_told_with_its_target():
    far = Far()
    far.status = 302
    link = Link(far, 1)
    assert not link.session()
    assert "redirects to '/elsewhere', which is not followed" in link.outages[0]


@pytest.mark.parametrize(
    ("asked", "low_s", "high_s"), [("seconds", 119, 120), ("date", 60, 121), ("days", 899, 900)]
)
def test_a_receiver_that_asks_for_patience_gets_it_up_to_a_bound(asked, low_s, high_s):
    in_two_minutes = formatdate(time() + 120, usegmt=True)
    far = Far()
    far.status = 429
    far.retry_after = {"seconds": "120", "date": in_two_minutes, "days": "999999"}[asked]
    link = Link(far, 1)
    assert not link.session()
    assert not link.session()
    assert far.requests == 1
    first, second = link.outages
    assert first == second
    assert low_s <= int(first.split()[-2]) <= high_s


@pytest.mark.parametrize(
    "retry_after", ["", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 40]
)
def test_a_retry_after_that_means_nothing_is_none(retry_after):
    far = Far()
    far.status, far.retry_after = 503, retry_after
    link = Link(far, 1)
    assert not link.session()
    far.status = None
    assert link.session()


@settings(max_examples=200)
@given(
    poison=st.sets(st.integers(1, 30), max_size=10),
    batch=st.sampled_from([1, 3, 100]),
    outages=st.lists(st.sampled_from([None, None, 404, 429, 500, 302]), max_size=8),
)
def test_whatever_the_receiver_does_what_it_takes_it_gets_once_in_order(poison, batch, outages):
    far = Far(poison, batch)
    link = Link(far, 31)  # the last is always taken
    for status in outages:
        far.status = status
        link.session(seconds=2)
    far.status = None
    for _ in range(40):
        if link.session() and link.confirmed == set(range(1, 32)):
            break
    assert link.confirmed == set(range(1, 32))
    assert far.taken == [seq for seq in range(1, 32) if seq not in poison]
    assert far.counts.get("set_aside", 0) == len(poison)
