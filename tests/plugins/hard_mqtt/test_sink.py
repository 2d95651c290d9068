"""`MqttSink` against a real mosquitto."""

import json
import threading
import time
from dataclasses import replace

import pytest

from hard.api import DaySummary, SinkUnavailable
from hard.testing import check_sink, sample_events, sample_state
from hard_mqtt import MqttSink

STATUS = "hard/pi/status"
EVENT = "hard/pi/conformance/event"
STATE = "hard/pi/conformance/state"


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
    (status, state, published, offline) = watcher.all_seen()
    assert status == (STATUS, b"online", False)
    assert state[0] == STATE
    assert json.loads(state[1]) == sample_state().payload()
    assert published[0] == EVENT
    assert json.loads(published[1]).items() >= event.payload().items()
    assert json.loads(published[1])["late"] is True
    assert offline == (STATUS, b"offline", False)


def test_a_late_subscriber_sees_status_and_state_but_no_event(broker, opened):
    sink = opened()
    sink.update(sample_state())
    sink.write(sample_events(3), lambda _: None)
    sink.drain(10)
    late = {topic: (body, retained) for topic, body, retained in broker.watch("#").all_seen()}
    assert set(late) == {STATUS, STATE}
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


def test_an_event_that_the_acl_denies_is_kept_counted_and_tried_again(
    stopped_broker, tmp_path, caplog
):
    secret = tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o600)
    acl = "topic readwrite hard/pi/status\ntopic readwrite hard/pi/allowed/event"
    stopped_broker.login("hard", "right", acl)
    stopped_broker.start()
    sink, confirmed = (
        sink_of(stopped_broker, Impatient, username="hard", password_file=str(secret)),
        [],
    )
    sink.open()
    sink.write(sample_events(2, 1, "denied"), confirmed.append)
    sink.write(sample_events(1, 3, "allowed"), confirmed.append)
    sink.drain(10)
    assert confirmed == [3]
    assert sink.counts == {"refused": 2}
    assert len(caplog.messages) == 1
    assert "hard/pi/denied/event" in caplog.text
    assert "ACL" in caplog.text
    assert "refused events" in checked_until_gone(sink, timeout_s=2)
    sink.close()


def test_a_confirm_that_fails_is_noticed_and_not_a_silent_zombie(opened):
    def broken_confirm(_seq):
        raise RuntimeError("a bug of the caller")

    sink = opened()
    sink.write(sample_events(1), broken_confirm)
    assert "a bug of the caller" in checked_until_gone(sink, timeout_s=5)


def test_a_second_sink_with_our_id_is_named_as_the_cause(opened):
    first = opened(client_id="same")
    opened(client_id="same")
    assert "client_id" in checked_until_gone(first, timeout_s=5)


def test_a_late_subscriber_sees_the_day(broker, opened):
    day = DaySummary(
        stream=sample_state().stream,
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
    sink = opened()
    sink.summarise(day)
    sink.drain(10)
    topic = STATE.removesuffix("state") + "summary"
    ((_, body, retained),) = broker.watch(topic).all_seen()
    assert retained
    assert json.loads(body) == day.payload()
