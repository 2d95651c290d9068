"""`PhyphoxSource` and a phone on a real socket."""

import logging
import socket
import threading
import time

import pytest
from pydantic import ValidationError

from hard.api import SourceUnavailable
from hard.testing import check_message, check_source
from hard_http import PhyphoxSource
from tests.plugins.hard_http import phone as phone_module
from tests.plugins.hard_http.phone import ACCELERATION, GRAVITY, GYROSCOPE, LINEAR, Phyphox
from tests.running import program


@pytest.fixture
def start():
    phones = []

    def one(*inputs, **how):
        phones.append(Phyphox(*inputs, **how))
        return phones[-1]

    yield one
    for phone in phones:
        phone.close()


@pytest.fixture
def phone(start):
    return start(ACCELERATION, GYROSCOPE)


def source_of(phone, name="pocket", **config):
    config = {"poll_s": 0.05, **config}
    return PhyphoxSource(name, PhyphoxSource.Config(host="127.0.0.1", port=phone.port, **config))


def stamps(message, sensor="accel"):
    return [t / 1e9 for batch in message if batch.sensor == sensor for t in batch.t]


def test_it_keeps_the_contract():
    with program(phone_module) as port:
        config = PhyphoxSource.Config(host="127.0.0.1", port=port)
        check_source(lambda: PhyphoxSource("pocket", config))


def test_it_begins_at_the_newest_sample_and_gives_each_later_one_once(phone, running):
    phone.measure(*(i / 100 for i in range(500)))
    run = running(source_of(phone))
    assert stamps(run.next()) == [4.99]
    got = []
    for i in range(500, 1000, 50):
        phone.measure(*(j / 100 for j in range(i, i + 50)))
        got += stamps(run.next())
    while len(got) < 500:
        got += stamps(run.next())
    assert got == [i / 100 for i in range(500, 1000)]


def test_samples_are_the_phones_own_in_its_own_clock(phone, running):
    before_ns = time.time_ns()
    phone.measure(1.5)
    phone.measure(1.25, of=GYROSCOPE, values=(1, 2, 3))
    run = running(source_of(phone, stream="left hip"))
    message = run.next()
    check_message(message)
    accel, gyro = message
    assert accel.stream.startswith("left_hip_")
    assert (accel.sensor, accel.declared.unit, accel.declared.sign) == ("accel", "m/s2", 1)
    assert (gyro.sensor, gyro.declared.unit) == ("gyro", "rad/s")
    assert accel.values.tolist() == [[0.5, -0.25, 9.8125]]
    assert (accel.t.tolist(), gyro.t.tolist()) == ([1_500_000_000], [1_250_000_000])
    assert accel.declared.clock == gyro.declared.clock == "device"
    assert before_ns < accel.t_received_ns <= time.time_ns()


def test_linear_acceleration_comes_with_gravity_or_not_at_all(start, running):
    phone = start(LINEAR, GRAVITY)
    phone.measure(1.0, of=LINEAR)
    phone.measure(1.0, of=GRAVITY)
    assert [batch.sensor for batch in running(source_of(phone)).next()] == [
        "linear_accel",
        "gravity",
    ]


@pytest.mark.parametrize("has_config", [True, False])
def test_linear_acceleration_alone_is_refused_by_name(start, has_config):
    usual = ("linear_acceleration", "lin_acc_time", "lin_accX", "lin_accY", "lin_accZ")
    phone = start(usual, has_config=has_config)
    with pytest.raises(SourceUnavailable, match=r"linear acceleration only.*Acceleration with g"):
        source_of(phone).run(print, threading.Event())


def test_buffers_named_like_acceleration_do_not_hide_that_gravity_was_removed(start):
    phone = start(("linear_acceleration", *ACCELERATION[1:]))
    with pytest.raises(SourceUnavailable, match="linear acceleration only"):
        source_of(phone).run(print, threading.Event())


def test_an_old_version_without_config_is_read_by_the_usual_names(start, running):
    phone = start(ACCELERATION, has_config=False)
    phone.measure(1.0)
    assert stamps(running(source_of(phone)).next()) == [1.0]


def test_a_new_session_begins_anew(phone, running):
    phone.measure(100.0)
    run = running(source_of(phone))
    assert stamps(run.next()) == [100.0]
    phone.begin("d4e5f6")
    phone.measure(0.125)
    assert stamps(run.next()) == [0.125]
    phone.measure(0.25)
    assert stamps(run.next()) == [0.25]


def test_another_experiment_of_a_new_session_is_learnt(start, running):
    phone = start(ACCELERATION)
    phone.measure(1.0)
    run = running(source_of(phone))
    run.next()
    phone.inputs = (("accelerometer", "T", "AX", "AY", "AZ"),)
    phone.begin("d4e5f6")
    phone.measure(2.0, of=phone.inputs[0])
    assert stamps(run.next()) == [2.0]


def test_data_that_were_cleared_within_a_session_begin_anew(phone, running):
    phone.measure(100.0)
    run = running(source_of(phone))
    run.next()
    phone.clear()
    phone.measure(0.5)  # nothing newer than 100 s: found by asking for the last
    assert stamps(run.next()) == [0.5]


def test_nulls_are_left_out_and_counted(phone, running):
    phone.measure(1.0)
    source = source_of(phone)
    run = running(source)
    run.next()
    phone.measure(1.1, values=(None, 0, 0))
    phone.measure(1.2)
    got = []
    while 1.2 not in got:
        got += stamps(run.next())
    assert got == [1.2]
    assert source.counts["not_finite"] >= 1


def test_that_it_is_not_measuring_is_said_once_with_the_remedy(phone, running, caplog):
    caplog.set_level(logging.WARNING)
    phone.measuring = False
    run = running(source_of(phone))
    while len(phone.asked) < 6:
        run._stop.wait(0.01)
    (record,) = caplog.records
    assert "is not measuring: press play in the app (said once)" in record.message
    phone.measuring = True
    phone.measure(1.0)
    assert stamps(run.next()) == [1.0]


def test_a_phone_that_is_away_is_named_with_the_remedy(free_port):
    source = PhyphoxSource("p", PhyphoxSource.Config(host="127.0.0.1", port=free_port))
    with pytest.raises(SourceUnavailable, match=f"http://127.0.0.1:{free_port}.*remote access"):
        source.run(print, threading.Event())


def test_after_an_absence_nothing_is_lost(start, running):
    phone = start(ACCELERATION)
    phone.measure(1.0)
    source = source_of(phone)
    run = running(source)
    assert stamps(run.next()) == [1.0]
    phone.close()
    assert "no phyphox" in run.ended()
    phone.measure(1.1, 1.2, 1.3)
    again = start(ACCELERATION, port=phone.port)
    again.buffers = phone.buffers
    assert stamps(running(source).next()) == [1.1, 1.2, 1.3]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/get", 200, "<html>a router's page</html>"),
        ("/get", 200, "[]"),
        ("/get", 200, "{}"),
        ("/get", 200, '{"buffer": {}, "status": {"session": 7}}'),
        ("/get", 200, '{"buffer": {}, "status": {"session": "a1b2c3", "measuring": true}}'),
        ("/get", 200, "[" * 100_000),
        ("/get", 404, ""),
        ("/get", 500, "{}"),
        ("/config", 200, "{}"),
        ("/config", 200, '{"inputs": 1}'),
        ("/config", 302, ""),
        ("/config", 200, "9" * 5_000_000),
    ],
)
def test_what_is_not_phyphox_is_said_to_be_something_else(phone, path, status, body):
    phone.replies[path] = (status, body)
    with pytest.raises(SourceUnavailable, match="not phyphox's remote access"):
        source_of(phone).run(print, threading.Event())


@pytest.mark.native  # the phone here has to write five megabytes within the three seconds it gets
def test_what_piled_up_too_high_is_left_out_and_counted(phone, running):
    phone.measure(1.0)
    source = source_of(phone)
    run = running(source)
    run.next()
    phone.measure(*(1 + i / 1e5 for i in range(1, 90_000)))
    phone.measure(2.0)
    got = []
    while 2.0 not in got:
        got += stamps(run.next())
    assert got == [2.0]
    assert source.counts == {"too_large": 1}


def test_a_phone_that_does_not_answer_is_given_up_after_three_seconds():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = PhyphoxSource.Config(host="127.0.0.1", port=deaf.getsockname()[1])
        with pytest.raises(SourceUnavailable, match="no answer within 3 s"):
            PhyphoxSource("p", config).run(print, threading.Event())


def test_it_stops_in_time_while_the_phone_does_not_answer(running):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        config = PhyphoxSource.Config(host="127.0.0.1", port=deaf.getsockname()[1])
        run = running(PhyphoxSource("p", config))
        peer, _ = deaf.accept()
        started_s = time.monotonic()
        run.stop()
        assert time.monotonic() - started_s < 0.5
        assert run.failure is None
        peer.close()


def test_the_probe_goes_from_the_phone_to_a_sample(phone):
    phone.measure(1.0)
    assert [(stage.name, stage.ok) for stage in source_of(phone).probe(5.0)] == [
        ("phone", True),
        ("sample", True),
    ]


def test_the_probe_says_to_press_play_when_nothing_comes(phone):
    *_, last = source_of(phone).probe(0.3)
    assert (last.name, last.ok, last.remedy) == ("sample", None, "press play in the app")


def test_the_probe_stops_where_the_experiment_does_not_serve(start):
    refused = start(LINEAR)
    (stage,) = source_of(refused).probe(1.0)
    assert (stage.name, stage.ok) == ("phone", False)
    assert "linear acceleration only" in stage.detail


@pytest.mark.parametrize("wrong", [{}, {"host": ""}, {"host": "x", "poll_s": 0.0}, {"host": 1}])
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        PhyphoxSource.Config(**wrong)
