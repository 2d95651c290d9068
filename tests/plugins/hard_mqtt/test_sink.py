"""`MqttSink` against a real mosquitto."""

import contextlib
import json
import threading
import time
from dataclasses import replace

import pytest

from hard.api import DaySummary, Description, SinkUnavailable
from hard.testing import check_sink, sample_events, sample_state
from hard_formats.names import safe_id
from hard_mqtt import MqttSink
from tests.plugins.hard_mqtt.old_broker import old_broker

STATUS = "hard/pi/status"
EVENT = "hard/pi/conformance/event"
STATE = "hard/pi/conformance/state"
AVAILABILITY = "hard/pi/conformance/availability"
NODE_CONFIG = "homeassistant/device/hard_pi/config"
STREAM_CONFIG = "homeassistant/device/hard_pi_conformance/config"
DESCRIPTION = Description("conformance", "Anna", "m@1", ("walking", "sitting"), ("sitting",))


SUMMARY = "hard/pi/conformance/summary"
DAY = DaySummary(
    stream="conformance",
    date="2026-05-01",
    timezone="Europe/Berlin",
    t_start=0,
    t_end=86_400 * 10**9,
    t=3600 * 10**9,
    activity_s={"walking": 60.0},
    bouts={"walking": 1},
    longest_rest=None,
    no_data_s=0.0,
    first_seen=0,
    last_seen=60 * 10**9,
)


def sink_of(broker, kind=MqttSink, **config):
    return kind("out", kind.Config(host="127.0.0.1", port=broker.port, **config), node="pi")


@pytest.fixture
def opened(broker):
    """Give opened sinks that are closed after the test, whatever happened."""
    sinks = []

    def open_sink(where=broker, **config):
        sinks.append(sink_of(where, **config))
        sinks[-1].open()
        return sinks[-1]

    yield open_sink
    for sink in sinks:
        sink.close()


def checked_until_gone(sink, timeout_s):
    """Ask as the runtime does until the sink says that the link is gone; return how."""
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < deadline_s:
        try:
            sink.check()
        except SinkUnavailable as gone:
            return str(gone)
        pause.wait(0.05)
    raise AssertionError(f"not noticed within {timeout_s} s")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_it_keeps_the_contract(broker, tmp_path_factory, protocol):
    closed_port = type(broker)(tmp_path_factory.mktemp("none")).port
    check_sink(
        lambda: sink_of(broker, protocol=protocol),
        make_unreachable=lambda: MqttSink(
            "out", MqttSink.Config(host="127.0.0.1", port=closed_port, protocol=protocol)
        ),
    )


def test_an_early_subscriber_sees_online_state_event_offline(broker, opened):
    watcher = broker.watch("hard/#")
    sink = opened()
    sink.update(sample_state())
    (event,) = sample_events(1)
    sink.write([event], lambda _: None)
    sink.close()
    status, available, state, published, away, offline = watcher.all_seen()
    assert status == (STATUS, b"online", False)
    assert available == (AVAILABILITY, b"online", False)
    assert state[0] == STATE
    assert json.loads(state[1]) == sample_state().payload()
    assert published[0] == EVENT
    assert json.loads(published[1]).items() >= event.payload().items()
    assert json.loads(published[1])["late"] is True
    assert away == (AVAILABILITY, b"offline", False)
    assert offline == (STATUS, b"offline", False)


def test_a_late_subscriber_sees_status_and_state_but_no_event(broker, opened):
    sink = opened()
    sink.update(sample_state())
    sink.write(sample_events(3), lambda _: None)
    sink.drain(10)
    late = {topic: (body, retained) for topic, body, retained in broker.watch("#").all_seen()}
    assert set(late) == {STATUS, STATE, AVAILABILITY, NODE_CONFIG}
    assert late[STATUS] == (b"online", True)
    sink.close()
    assert broker.watch(STATUS).all_seen() == [(STATUS, b"offline", True)]


def test_the_will_says_offline_when_the_daemon_dies(broker, opened):
    watcher = broker.watch(STATUS)
    sink = opened()
    assert watcher.next() == (STATUS, b"online", False)
    sink._publisher._client.cut()  # as a killed process: no DISCONNECT
    assert watcher.next() == (STATUS, b"offline", False)
    assert broker.watch(STATUS).all_seen() == [(STATUS, b"offline", True)]


def test_a_replay_retains_nothing_and_has_no_status(broker, opened):
    watcher = broker.watch("hard/#")
    sink = opened(retain=False)
    sink.update(sample_state())
    sink.write(sample_events(1), lambda _: None)
    sink.drain(10)
    sink.close()
    assert [topic for topic, _, _ in watcher.all_seen()] == [STATE, EVENT]
    assert broker.watch("#").all_seen() == []


def test_a_stream_that_no_topic_can_hold_is_escaped(broker, opened):
    watcher = broker.watch("hard/#")
    sink, confirmed = opened(), []
    sink.write(sample_events(1, stream="a/#\x00"), confirmed.append)
    sink.drain(10)
    assert confirmed == [1]
    topic, body, _ = watcher.all_seen()[-1]
    assert topic.startswith("hard/pi/a____")
    assert json.loads(body)["stream"] == "a/#\x00"


def test_many_more_events_than_may_be_in_flight_are_confirmed_in_order(broker, opened):
    watcher = broker.watch("hard/+/+/event")
    sink, confirmed = opened(inflight=5), []
    sink.write(sample_events(500), confirmed.append)
    sink.drain(10)
    assert confirmed == list(range(1, 501))
    assert [json.loads(body)["seq"] for _, body, _ in watcher.all_seen()] == confirmed


def test_what_the_broker_had_not_confirmed_when_it_was_killed_is_delivered_later(broker, opened):
    confirmed = []

    def confirm(seq):
        confirmed.append(seq)
        if seq == 50:
            broker.kill()

    sink, events = opened(), sample_events(200)
    with pytest.raises(SinkUnavailable, match=f"127.0.0.1:{broker.port}"):
        sink.write(events, confirm)
    sink.close()
    assert 50 <= len(confirmed) < 100
    with pytest.raises(SinkUnavailable, match="is it running"):
        sink.open()
    sink.close()

    broker.start()
    watcher = broker.watch("hard/+/+/event")
    left = [event for event in events if event.seq not in confirmed]
    sink.open()
    sink.write(left, confirmed.append)
    sink.drain(10)
    sink.close()
    seen = [json.loads(body)["seq"] for _, body, _ in watcher.all_seen()]
    assert seen == [event.seq for event in left]
    assert confirmed == list(range(1, 201))


def test_a_frozen_idle_broker_is_noticed_within_two_keepalives(broker, opened):
    sink = opened(keepalive_s=2)
    sink.drain(10)
    broker.freeze()
    assert "Keep alive timeout" in checked_until_gone(sink, timeout_s=4.0)


def test_a_frozen_broker_that_owes_answers_is_noticed_within_one(broker, opened):
    sink, confirmed = opened(keepalive_s=3), []
    broker.freeze()
    sink.write(sample_events(1), confirmed.append)
    assert "acknowledged nothing for 3 s" in checked_until_gone(sink, timeout_s=3.5)
    assert confirmed == []


def test_close_and_drain_do_not_wait_for_a_frozen_broker(broker, opened):
    sink, confirmed = opened(), []
    sink.drain(10)
    broker.freeze()
    sink.write(sample_events(20), confirmed.append)
    started_s = time.monotonic()
    sink.drain(0.2)
    sink.close()
    assert time.monotonic() - started_s < 1.2
    assert confirmed == []


def test_close_cuts_a_line_that_takes_no_more_bytes(broker, opened):
    sink = opened()
    sink.drain(10)
    broker.freeze()
    huge = "x" * 1_000_000  # 20 MB together: far more than the kernel's buffers
    sink.write([replace(event, reason=huge) for event in sample_events(20)], lambda _: None)
    started_s = time.monotonic()
    sink.close()
    assert time.monotonic() - started_s < 1.5


@pytest.mark.fast_fault("F7")
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_login_names_user_and_remedy(stopped_broker, tmp_path, protocol):
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    secret.chmod(0o600)
    stopped_broker.login("hard", "right")
    stopped_broker.start()
    sink = sink_of(stopped_broker, username="hard", password_file=str(secret), protocol=protocol)
    with pytest.raises(SinkUnavailable, match=r"refused user 'hard'.*password_file"):
        sink.open()
    sink.close()


class Impatient(MqttSink):
    retry_refused_s = 0.1


def logged_in(broker, tmp_path, acl, kind=MqttSink, **config):
    """Start a broker that lets only us in, with these rights; return a sink that may log in."""
    secret = tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o600)
    broker.login("hard", "right", acl)
    broker.start()
    return sink_of(broker, kind, username="hard", password_file=str(secret), **config)


def until(happened, timeout_s=10.0):
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while not happened():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        pause.wait(0.02)


@pytest.mark.fast_fault("F7")
def test_an_event_that_the_acl_denies_is_kept_counted_and_tried_again(
    stopped_broker, tmp_path, caplog
):
    acl = "topic readwrite hard/pi/status\ntopic readwrite hard/pi/allowed/event"
    quiet = {"homeassistant": False}
    sink = logged_in(stopped_broker, tmp_path, acl, Impatient, **quiet)
    confirmed = []
    sink.open()
    sink.write(sample_events(2, 1, "denied"), confirmed.append)
    sink.write(sample_events(1, 3, "allowed"), confirmed.append)
    sink.drain(10)
    assert confirmed == [3]
    assert sink.counts == {"refused": 2}
    assert len(caplog.messages) == 1
    assert "hard/pi/denied/event" in caplog.text
    assert "ACL" in sink.trouble

    def again():
        sink.check()
        return sink.counts["refused"] >= 8

    began_s = time.monotonic()
    until(again)  # after 0.1, 0.2 and 0.4 s
    assert time.monotonic() - began_s > 0.6
    stopped_broker.rights("hard", "topic readwrite hard/#")
    until(lambda: sink.check() or sorted(confirmed) == [1, 2, 3])
    assert sink.trouble is None
    sink.close()


def test_what_the_acl_denies_to_home_assistant_costs_no_event(stopped_broker, tmp_path, caplog):
    sink, confirmed = logged_in(stopped_broker, tmp_path, "topic readwrite hard/#"), []
    sink.open()
    sink.write(sample_events(3), confirmed.append)
    sink.drain(10)
    assert confirmed == [1, 2, 3]
    assert "homeassistant = false" in caplog.text
    sink.close()


def test_a_confirm_that_fails_is_noticed_and_not_a_silent_zombie(opened):
    def broken_confirm(_seq):
        raise RuntimeError("a bug of the caller")

    sink = opened()
    sink.write(sample_events(1), broken_confirm)
    assert "a bug of the caller" in checked_until_gone(sink, timeout_s=5)


def test_two_daemons_with_one_id_notice_it_and_do_not_fight(opened, caplog):
    sinks = [opened(client_id="same"), opened(client_id="same")]
    takeovers, pause = 0, threading.Event()
    while "client_id 'same'" not in caplog.text:
        for sink in sinks:
            try:
                sink.check()
            except SinkUnavailable:
                takeovers += 1
                sink.close()
                sink.open()
        pause.wait(0.02)
        assert takeovers < 10
    assert "going on as 'pi-sink-out-" in caplog.text
    for sink in sinks:  # the one that has noticed leaves the id to the other
        with contextlib.suppress(SinkUnavailable):
            sink.check()
            continue
        sink.close()
        sink.open()
    confirmed = []
    for sink in sinks:
        sink.write(sample_events(20), confirmed.append)
        sink.drain(10)
        sink.check()
    assert sorted(confirmed) == sorted([*range(1, 21)] * 2)
    assert sum(sink.counts["id_taken"] for sink in sinks) == 1


# -- what is retained ------------------------------------------------------------------------


def retained_at(broker):
    return {topic: body for topic, body, _ in broker.watch("#").all_seen()}


def test_everything_retained_is_published_on_every_connection_availability_first(broker, opened):
    sink = opened()
    sink.drain(10)
    for _ in range(2):
        watcher = broker.watch("#")
        watcher.all_seen()  # what was there before
        sink.close()
        sink.open()
        sink.describe(DESCRIPTION)
        sink.update(sample_state())
        sink.report({"degraded": None, "streams": 1})
        sink.drain(10)
        in_order = [STATUS, NODE_CONFIG, AVAILABILITY, STREAM_CONFIG, STATE, "hard/pi/health"]
        seen = [(topic, body) for topic, body, _ in watcher.all_seen()]
        while (STATUS, b"offline") in seen:  # the last word; on a slow machine the will too
            seen = seen[seen.index((STATUS, b"offline")) + 1 :]
        assert [topic for topic, _ in seen] == in_order
    health = json.loads(retained_at(broker)["hard/pi/health"])
    assert health == {"schema": 1, "node": "pi", "degraded": None, "streams": 1}


@pytest.mark.parametrize(
    ("status", "availability"),
    [("ok", b"online"), ("checking", b"online"), ("no_data", b"offline"), ("rejected", b"offline")],
)
def test_a_stream_is_available_while_it_sends_something_usable(
    broker, opened, status, availability
):
    sink = opened()
    sink.update(replace(sample_state(), status=status))
    sink.drain(10)
    assert retained_at(broker)[AVAILABILITY] == availability


def test_with_debug_each_window_is_published_and_not_retained(broker, opened):
    watcher = broker.watch("hard/pi/+/debug")
    sink = opened(debug=True)
    assert sink.shows_windows
    sink.explain({"stream": "phone 1", "gate": "turned"})
    topic, payload = watcher.next()[:2]
    assert topic == f"hard/pi/{safe_id('phone 1')}/debug"
    assert json.loads(payload) == {"stream": "phone 1", "gate": "turned"}
    sink.drain(10)
    assert topic not in retained_at(broker)
    assert not opened(client_id="other").shows_windows


def test_a_stream_that_made_room_is_unavailable(broker, opened):
    sink = opened()
    sink.describe(DESCRIPTION)
    sink.update(sample_state())
    sink.retire("conformance")
    sink.drain(10)
    assert retained_at(broker)[AVAILABILITY] == b"offline"
    assert STREAM_CONFIG in retained_at(broker)


@pytest.mark.parametrize("how", ["forget", "retire"])
def test_of_a_forgotten_stream_nothing_is_left_until_it_sends_again(broker, opened, how):
    sink = opened(remove_evicted=True)
    sink.describe(DESCRIPTION)
    sink.update(sample_state())
    sink.summarise(DAY)
    sink.drain(10)
    assert {STATE, AVAILABILITY, SUMMARY, STREAM_CONFIG} <= set(retained_at(broker))
    getattr(sink, how)("conformance")
    sink.summarise(DAY)
    sink.drain(10)
    assert set(retained_at(broker)) == {STATUS, NODE_CONFIG}
    sink.describe(DESCRIPTION)
    sink.update(sample_state())
    sink.drain(10)
    assert {STATE, AVAILABILITY, STREAM_CONFIG} <= set(retained_at(broker))


def test_what_a_killed_daemon_left_online_is_corrected(broker, opened):
    killed = opened(client_id="killed")
    killed.update(sample_state())
    killed.update(sample_state("elsewhere"))
    killed.drain(10)
    killed._publisher._client.cut()
    watcher = broker.watch(AVAILABILITY)
    assert watcher.next()[1] == b"online"
    sink = opened()
    sink.update(sample_state("elsewhere"))
    until(lambda: sink.check() or watcher.all_seen() == [(AVAILABILITY, b"offline", False)])
    assert retained_at(broker)["hard/pi/elsewhere/availability"] == b"online"


def test_all_is_announced_again_some_seconds_after_home_assistant_was_born(broker, opened):
    sink = opened()
    sink.describe(DESCRIPTION)
    sink.update(sample_state())
    sink.summarise(DAY)
    sink.drain(10)
    watcher = broker.watch("+/#")
    before = set(watcher.all_seen())
    began_s = time.monotonic()
    watcher.publish("homeassistant/status", b"online")
    seen = []

    def announced():
        sink.check()
        seen.extend(topic for topic, _, _ in watcher.all_seen())
        return SUMMARY in seen

    until(announced)
    assert 2 <= time.monotonic() - began_s < 6
    again = [STATUS, NODE_CONFIG, AVAILABILITY, STREAM_CONFIG, STATE, SUMMARY]
    assert [topic for topic in seen if topic in again] == again
    assert {topic for topic, _, _ in before} == set(again)


# -- poison ----------------------------------------------------------------------------------


def delivered_in_spite_of(sink, events, confirmed, rounds):
    """Write as the runtime does: again, after each ending, what is not confirmed."""
    for attempt in range(1, rounds + 1):
        try:
            sink.open()
            sink.write([e for e in events if e.seq not in confirmed], confirmed.append)
            sink.drain(5)
            sink.check()
        except SinkUnavailable:
            sink.close()
        else:
            return attempt
    raise AssertionError(f"after {rounds} rounds only {sorted(confirmed)} are confirmed")


@pytest.mark.fast_fault("F8")
def test_a_poisonous_event_is_set_aside_after_three_endings_and_the_others_go_on(
    stopped_broker, caplog
):
    stopped_broker.limit_packets(20_000)
    stopped_broker.start()
    watcher = stopped_broker.watch("hard/+/+/event")
    sink, confirmed = sink_of(stopped_broker), []
    events = sample_events(50)
    events[24] = replace(events[24], reason="x" * 50_000)
    attempts = delivered_in_spite_of(sink, events, confirmed, rounds=6)
    assert attempts <= 4
    sink.close()
    assert sorted(confirmed) == list(range(1, 51))
    seen = [json.loads(body)["seq"] for _, body, _ in watcher.all_seen()]
    assert sorted(set(seen)) == [seq for seq in range(1, 51) if seq != 25]
    assert sink.counts["set_aside"] == 1
    assert f"event {events[24].id} was unanswered" in caplog.text


@pytest.mark.fast_fault("F8")
def test_a_poisonous_state_is_set_aside_too(stopped_broker):
    stopped_broker.limit_packets(20_000)
    stopped_broker.start()
    sink, confirmed = sink_of(stopped_broker, homeassistant=False), []
    state = replace(sample_state(), reason="x" * 50_000)

    class Stated:
        """The sink as the runtime uses it: a state after each open."""

        counts = sink.counts
        check, drain, close, write = sink.check, sink.drain, sink.close, sink.write

        def open(self):
            sink.open()
            sink.update(state)

    delivered_in_spite_of(Stated(), sample_events(3), confirmed, rounds=6)
    sink.close()
    assert sorted(confirmed) == [1, 2, 3]
    assert sink.counts["set_aside"] == 1


# -- MQTT 3.1.1 ------------------------------------------------------------------------------


def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1_and_that_is_said_once(broker, caplog):
    watcher, confirmed = broker.watch("hard/+/+/event"), []
    with old_broker(broker) as port:
        sink = MqttSink("out", MqttSink.Config(host="127.0.0.1", port=port), node="pi")
        for first in (1, 4):
            sink.open()
            sink.write(sample_events(3, first), confirmed.append)
            sink.drain(10)
            sink.close()
    assert confirmed == [1, 2, 3, 4, 5, 6]
    assert len(watcher.all_seen()) == 6
    assert sum("does not speak MQTT 5" in line for line in caplog.messages) == 1


def test_a_late_subscriber_sees_the_day(broker, opened):
    sink = opened()
    sink.summarise(DAY)
    sink.drain(10)
    ((_, body, retained),) = broker.watch(SUMMARY).all_seen()
    assert retained
    assert json.loads(body) == DAY.payload()
