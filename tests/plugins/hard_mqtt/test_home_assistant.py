"""What Home Assistant is told, against its documented keys, and its templates on real payloads.

`make test-ha` holds the same payloads against Home Assistant's own schemas.
"""

import json
import re
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined

from hard.api import Description
from hard.classifier import TFLiteClassifier
from hard.daily import Days
from hard.decision import OFF_BODY, UNKNOWN, DecisionSettings
from hard.pipeline import Pipeline
from hard.plugins import create
from hard.zones import zone_named
from hard_mqtt.home_assistant import EVENT_TYPES, Announcer
from hard_mqtt.sink import MqttSink

HOME = Announcer("homeassistant", "home", "hard/home")
SHARED = {"platform", "unique_id", "name", "state_topic", "value_template", "availability"}
KEYS = {
    # https://www.home-assistant.io/integrations/sensor.mqtt/ and its like
    "sensor": SHARED
    | {"device_class", "entity_category", "json_attributes_topic", "last_reset_value_template"}
    | {"options", "state_class", "unit_of_measurement"},
    "binary_sensor": SHARED
    | {"device_class", "entity_category", "json_attributes_topic", "payload_on", "payload_off"},
    "event": SHARED | {"event_types"},
}


@pytest.fixture(scope="module")
def lived():
    """Return description, states, events and summaries of the bundled recording."""
    classifier = TFLiteClassifier.load("pocket")
    recording = Path(__file__).parents[3] / "tests/data/day.csv"
    source = create("sources", "day", {"plugin": "file", "path": str(recording)}, "home")
    pipeline, states, events = Pipeline(lambda _: (classifier, DecisionSettings())), [], []

    def emit(message):
        events.extend(pipeline.feed(message))
        states.extend(pipeline.state(part.stream) for part in message)

    import threading  # noqa: PLC0415 - only here

    source.run(emit, threading.Event())
    events += pipeline.finish("end_of_data")
    days = Days(states[0].stream, zone_named("Europe/Berlin"))
    for event in events:
        days.take(event)
    activities = (*classifier.card.states, UNKNOWN, OFF_BODY)
    resting = (*classifier.card.postures, "still", OFF_BODY)
    stream = states[0].stream
    description = Description(stream, "Anna's phone", states[0].model, activities, resting)
    seen = [state.payload() for state in states]
    # A file comes in large pieces, between which states pass unseen.
    seen += [seen[-1] | {"confirmed": e.activity, "confidence": e.confidence} for e in events]
    return description, seen, events, [day.payload() for day in days.summaries(events[-1].t_end)]


def rendered(template, payload):
    """Render as Home Assistant does: the payload as text and, parsed, as JSON."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    text = json.dumps(payload)
    return environment.from_string(template).render(value=text, value_json=json.loads(text))


def components(lived):
    return HOME.of_stream(lived[0])["components"]


def test_only_keys_that_home_assistant_knows_are_used(lived):
    for device in (HOME.of_node(), HOME.of_stream(lived[0])):
        for component in device["components"].values():
            assert component.keys() <= KEYS[component["platform"]]
            assert {"platform", "unique_id", "name", "state_topic"} <= component.keys()
            assert len(component["name"]) > 2


def test_ids_are_unique_and_the_stream_belongs_to_the_node(lived):
    node, stream = HOME.of_node(), HOME.of_stream(lived[0])
    ids = [c["unique_id"] for d in (node, stream) for c in d["components"].values()]
    assert len(set(ids)) == len(ids)
    assert stream["device"]["via_device"] in node["device"]["identifiers"]
    assert stream["device"]["name"] == "Anna's phone"


@pytest.mark.parametrize(
    ("node", "stream"), [("home", "phone-1"), ("a_b", "c"), ("a", "b_c"), ("x", "a/#+é ")]
)
def test_a_topic_holds_only_what_home_assistant_takes_in_it(node, stream):
    topic = Announcer("homeassistant", node, f"hard/{node}").topic(stream)
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)


def test_no_two_streams_of_any_nodes_share_a_device():
    whose = [("a_b", "c"), ("a", "b_c"), ("a_b_c", None), ("a", None), ("a_b", None), ("a", "b")]
    assert len({Announcer("p", node, "r").object_id(stream) for node, stream in whose}) == 6


def test_the_activity_is_always_one_of_the_options_and_unknown_is_unrecognised(lived):
    activity = components(lived)["activity"]
    shown = {rendered(activity["value_template"], state) for state in lived[1]}
    assert shown - {"None"} <= set(activity["options"])
    assert {"walking", "running", "sitting"} <= shown
    unknown = lived[1][0] | {"confirmed": "unknown"}
    assert rendered(activity["value_template"], unknown) == "unrecognised"
    assert "unrecognised" in activity["options"]
    assert "unknown" not in activity["options"]


@pytest.mark.parametrize(
    ("confirmed", "moving"),
    [
        ("walking", "ON"),
        ("unknown", "ON"),
        ("sitting", "OFF"),
        ("still", "OFF"),
        ("off_body", "OFF"),
        (None, "None"),
    ],
)
def test_who_rests_does_not_move(lived, confirmed, moving):
    template = components(lived)["moving"]["value_template"]
    assert rendered(template, lived[1][0] | {"confirmed": confirmed}) == moving


def test_the_confidence_is_a_percentage(lived):
    template = components(lived)["confidence"]["value_template"]
    shown = [rendered(template, state) for state in lived[1]]
    assert all(text == "None" or 0 <= float(text) <= 100 for text in shown)
    assert rendered(template, lived[1][0] | {"confidence": 0.98765}) == "98.8"
    assert rendered(template, lived[1][0] | {"confidence": None}) == "None"


def test_seconds_of_today_and_when_it_was_seen_last_come_from_the_summary(lived):
    (day,) = lived[3]
    parts = components(lived)
    for activity in lived[0].activities:
        today = parts[f"today_{activity}"]
        seconds = float(rendered(today["value_template"], day))
        assert seconds == day["activity_s"].get(activity, 0)
        assert rendered(today["last_reset_value_template"], day) == day["t_start"]
    assert rendered(parts["last_seen"]["value_template"], day) == day["last_seen"]
    assert rendered(parts["last_seen"]["value_template"], day | {"last_seen": None}) == "None"


def test_a_change_is_an_event_of_a_known_type_and_a_late_one_is_none(lived):
    change = components(lived)["change"]
    for event in lived[2]:
        timely = event.delivered(event.t_decided)
        shown = json.loads(rendered(change["value_template"], timely))
        assert shown["event_type"] in change["event_types"] == list(EVENT_TYPES)
        late = event.delivered(event.t_decided + 3600 * 10**9)
        assert rendered(change["value_template"], late) == ""


def test_values_of_the_past_do_not_depend_on_whether_the_stream_sends(lived):
    device = HOME.of_stream(lived[0])
    assert device["availability"][1] == {"topic": f"hard/home/{lived[0].stream}/availability"}
    assert device["availability_mode"] == "all"
    for name, component in device["components"].items():
        own = component.get("availability", device["availability"])
        is_past = name in {"last_seen", "status"} or name.startswith("today_")
        assert len(own) == (1 if is_past else 2)


@pytest.mark.parametrize(("degraded", "problem"), [(None, "OFF"), ("away: log", "ON")])
def test_a_degraded_daemon_has_a_problem(degraded, problem):
    parts = HOME.of_node()["components"]
    health = {"degraded": degraded, "streams": 3, "version": "0.1.0"}
    assert rendered(parts["problem"]["value_template"], health) == problem
    assert rendered(parts["streams"]["value_template"], health) == "3"
    assert rendered(parts["version"]["value_template"], health) == "0.1.0"


def test_the_sink_announces_at_the_configured_place():
    sink = MqttSink("s", MqttSink.Config(discovery_prefix="ha", prefix="my/hard"), node="pi")
    assert sink._home.topic("x") == "ha/device/hard_pi_x/config"
    assert sink._home.of_node()["components"]["connected"]["state_topic"] == "my/hard/pi/status"
