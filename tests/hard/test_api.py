"""The values that plugins see: ids that depend on the data alone, JSON that says what it must."""

import inspect
import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hard import api
from hard.api import (
    NS_PER_S,
    Declared,
    Event,
    PluginConfig,
    SampleBatch,
    Sink,
    Source,
    StreamState,
    rfc3339,
)

T0_NS = 1_700_000_000_123_456_789
ENTER = Event(
    kind="enter",
    stream="phone-1",
    t_decided=T0_NS + 3 * NS_PER_S,
    t_start=T0_NS,
    model="pocket@cd6ca7cd",
    segment=0,
    activity="walking",
    confidence=0.96,
    probs={"walking": 0.96, "running": 0.04},
    coverage=1.0,
)
EXIT = replace(
    ENTER,
    kind="exit",
    t_end=T0_NS + 9 * NS_PER_S,
    t_decided=T0_NS + 10 * NS_PER_S,
    reason="changed",
)
STATUS = Event(
    kind="status",
    stream="phone-1",
    t_decided=T0_NS,
    t_start=T0_NS,
    model="pocket@cd6ca7cd",
    segment=0,
    status="no_data",
    previous="ok",
)
EVENTS = {"enter": ENTER, "exit": EXIT, "status": STATUS}
PAYLOAD = {
    *("schema", "seq", "event_type", "id", "bout", "stream", "activity", "confidence", "probs"),
    *("t_start", "t_start_ns", "t_end", "t_end_ns", "t_decided", "t_decided_ns"),
    *("coverage", "segment", "model", "reason"),
}
DELIVERY = {"t_published", "t_published_ns", "latency_ms", "late"}


# -- ids ---------------------------------------------------------------------------------------


def test_the_enter_and_the_exit_of_a_bout_share_it_and_differ_in_id():
    assert ENTER.bout == EXIT.bout
    assert len({ENTER.id, EXIT.id, ENTER.bout}) == 3


def test_a_status_is_of_no_bout():
    assert STATUS.bout is None


@pytest.mark.parametrize("kind", EVENTS)
def test_the_id_is_that_of_the_data_whoever_delivers_it_when(kind):
    event = EVENTS[kind]
    told = replace(event, t_decided=1, confidence=0.5, probs={}, coverage=0.9, reason="shutdown")
    assert told.id == event.id
    assert event.numbered(7).id == event.id
    assert len(event.id) == 16


def test_the_ids_of_known_events_do_not_change_between_versions():
    assert [ENTER.bout, ENTER.id, EXIT.id, STATUS.id] == [
        "034db910c66011ca",
        "a7be39a60ef69106",
        "85b4cd69f2459a0c",
        "73dcf5fd24038fbb",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"stream": "phone-2"},
        {"model": "waist@cd6ca7cd"},
        {"activity": "running"},
        {"segment": 1},
        {"t_start": T0_NS + 1},
        {"kind": "exit"},
    ],
)
def test_whatever_makes_it_another_event_makes_another_id(change):
    assert replace(ENTER, **change).id != ENTER.id


def test_fields_can_not_be_shifted_into_each_other():
    assert replace(ENTER, stream="a", model="bc").id != replace(ENTER, stream="ab", model="c").id


# -- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENTS)
def test_the_payload_has_the_published_keys_and_survives_json(kind):
    event = EVENTS[kind].numbered(42)
    payload = event.payload()
    extra = {"status", "previous"} if kind == "status" else set()
    assert set(payload) == PAYLOAD | extra
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    assert (payload["schema"], payload["seq"], payload["event_type"]) == (1, 42, kind)


def test_a_payload_is_of_plain_types_that_share_nothing_with_the_event():
    payload = ENTER.payload()
    payload["probs"]["walking"] = 0
    assert ENTER.probs["walking"] == 0.96


def test_an_open_bout_has_no_end():
    payload = ENTER.payload()
    assert payload["t_end"] is payload["t_end_ns"] is None


def test_times_are_given_as_text_and_as_integers():
    payload = EXIT.payload()
    for name in ("t_start", "t_end", "t_decided"):
        assert payload[name] == rfc3339(payload[f"{name}_ns"])
    assert payload["t_start_ns"] == T0_NS


@pytest.mark.parametrize(("after_s", "late"), [(0, False), (30, False), (31, True), (-5, False)])
def test_delivery_adds_its_own_fields(after_s, late):
    published_ns = EXIT.t_decided + after_s * NS_PER_S
    delivered = EXIT.delivered(published_ns)
    assert set(delivered) - set(EXIT.payload()) == DELIVERY
    assert delivered["latency_ms"] == after_s * 1000
    assert delivered["late"] is late
    assert delivered["t_published"] == rfc3339(published_ns)
    assert EXIT.delivered(published_ns, late_after_s=60)["late"] is False


def test_the_state_survives_json():
    state = StreamState(
        stream="phone-1",
        status="ok",
        activity="walking",
        since=T0_NS,
        t=T0_NS + NS_PER_S,
        confidence=0.9,
        probs={"walking": 0.9},
        bout=ENTER.bout,
        model="pocket@cd6ca7cd",
        reason=None,
    )
    payload = state.payload()
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    assert payload["since"] == rfc3339(payload["since_ns"])
    assert set(payload) == {
        *("schema", "stream", "status", "activity", "confirmed", "confidence", "probs"),
        *("since", "since_ns", "t", "t_ns", "bout", "model", "reason"),
    }


# -- times -------------------------------------------------------------------------------------


def test_rfc3339_cuts_to_milliseconds_and_never_rounds_up():
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(999_999_999) == "1970-01-01T00:00:00.999Z"
    assert rfc3339(T0_NS) == "2023-11-14T22:13:20.123Z"


@settings(deadline=None, max_examples=200)
@given(t_ns=st.integers(0, 9 * 10**18))
def test_rfc3339_reads_back_to_the_millisecond(t_ns):
    back = datetime.fromisoformat(rfc3339(t_ns))
    whole_ms = (back - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000
    assert round(whole_ms) == t_ns // 1_000_000


# -- the contract ------------------------------------------------------------------------------


def test_all_that_is_offered_is_there_and_documented():
    for name in api.__all__:
        value = getattr(api, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name


@pytest.mark.parametrize(("value", "name"), [(ENTER, "stream"), (Declared("g"), "unit")])
def test_values_can_not_be_changed(value, name):
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "other")


def test_a_batch_is_as_long_as_its_samples():
    batch = SampleBatch("s", "gyro", np.arange(3), np.zeros((3, 3), np.float32), Declared("deg/s"))
    assert len(batch) == 3


@pytest.mark.parametrize("wrong", [{"port": "1"}, {"prot": 1}, {"port": float("nan")}, {}])
def test_a_plugins_configuration_is_strict(wrong):
    class Config(PluginConfig):
        port: float

    with pytest.raises(ValidationError):
        Config.model_validate(wrong)


@pytest.mark.parametrize("base", [Source, Sink])
def test_a_plugin_without_its_methods_can_not_be_made(base):
    with pytest.raises(TypeError, match="abstract"):
        base("name", PluginConfig())


def test_what_is_skipped_is_said_once_and_counted(caplog):
    class Quiet(Source[PluginConfig]):
        Config = PluginConfig

        def run(self, emit, stop):
            pass

    source = Quiet("door", PluginConfig())
    for _ in range(3):
        source.skip("bad_row", "row 7: 'abc' is no number", 2)
    assert source.counts == {"bad_row": 6}
    (record,) = caplog.records
    assert record.getMessage() == "door: row 7: 'abc' is no number (said once, counted as bad_row)"
    assert record.name == "hard.door"
