"""The contract: every payload that the daemon makes is of schema 1, no more and no less."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from hard.api import NS_PER_S, StreamState
from hard.classifier import TFLiteClassifier
from hard.daily import Days
from hard.decision import DecisionSettings
from hard.pipeline import Pipeline
from hard.plugins import create
from hard.replay import replay
from hard.schema import NAMES, payload_of, published
from hard.testing import sample_events, sample_state
from hard.zones import zone_named


@pytest.fixture(scope="module")
def classifier():
    return TFLiteClassifier.load("pocket")


@pytest.fixture(scope="module")
def source():
    table = {"plugin": "simulator", "realtime": False, "start": "2024-01-01T22:59:00Z"}
    script = ["standing:30", "walking:60", "sitting:60"]
    return create("sources", "s", table | {"script": script}, "hard")


@pytest.fixture(scope="module")
def events(classifier, source):
    """Return the events of a day, one of each kind among them."""
    found = replay([source, source], lambda _: (classifier, DecisionSettings()), join_s=30).events
    assert {event.kind for event in found} == {"enter", "exit", "status"}
    assert {event.status for event in found} >= {"no_data", "ok"}
    return found


def test_every_event_is_of_the_schema(events):
    for event in [*events, *sample_events(3)]:
        payload_of("event", event.payload())
        payload_of("event", event.numbered(7).delivered(event.t_decided + 40 * NS_PER_S))


def test_an_exit_after_a_crash_is_of_the_schema(events):
    bout = next(event for event in events if event.kind == "enter")
    payload_of(
        "event", replace(bout, kind="exit", t_end=bout.t_start, reason="interrupted").payload()
    )


def test_every_state_is_of_the_schema(classifier, source):
    pipeline = Pipeline(lambda _: (classifier, DecisionSettings()))
    seen = set()

    def feed(message):
        pipeline.feed(message)
        state = pipeline.state("sim-1")
        payload_of("state", state.payload())
        seen.add((state.status, state.activity is None))

    class Never:
        def is_set(self):
            return False

    source.run(feed, Never())
    assert {("checking", True), ("ok", False)} <= seen
    payload_of("state", replace(sample_state(), bout="0123456789abcdef").payload())
    unknown = StreamState("a", "checking", None, None, None, None, {}, None, "m@1", None)
    payload_of("state", unknown.payload())


def test_every_summary_is_of_the_schema(events):
    days = Days("sim-1", zone_named("Europe/Berlin"))
    assert days.summaries(0) == []
    for event in events:
        days.take(event)
        for summary in days.summaries(event.t_decided):
            payload_of("summary", summary.payload())
    assert [day.date for day in days.summaries(events[-1].t_decided)] == [
        "2024-01-01",
        "2024-01-02",
    ]


@pytest.mark.parametrize("change", [{"schema": 2}, {"more": 1}, {"activity": 7}, {"bout": "x"}])
def test_another_payload_is_not(events, change):
    body = next(event for event in events if event.kind == "enter").payload()
    with pytest.raises(ValidationError):
        payload_of("event", body | change)


@pytest.mark.parametrize("field", ["id", "t_end", "seq", "probs"])
def test_a_field_that_lacks_is_missed(events, field):
    body = events[0].payload()
    del body[field]
    with pytest.raises(ValidationError):
        payload_of("event", body)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_published_lets_unknown_fields_pass(name):
    schema = published(name)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["title"] == f"hard {name}, schema 1"
    assert "additionalProperties" not in schema
    assert all("additionalProperties" not in part for part in schema.get("$defs", {}).values())


def test_what_is_published_names_every_field_that_is_sent(events):
    parts = published("event")["$defs"]
    for event, name in [("enter", "Enter"), ("exit", "Exit"), ("status", "StatusChange")]:
        body = next(e for e in events if e.kind == event).payload()
        assert body.keys() == set(parts[name]["required"])
        assert body.keys() < parts[name]["properties"].keys()
    assert sample_state().payload().keys() == set(published("state")["required"])
