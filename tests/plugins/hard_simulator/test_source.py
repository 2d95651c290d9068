"""The simulator as a source: its configuration, its stamps, its pace."""

import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import hard_simulator
from hard.api import NS_PER_S, Annotation, SampleBatch
from hard_simulator import SimulatorSource

START_NS = 1_704_067_200 * NS_PER_S  # 2024-01-01T00:00:00Z


def source(**config):
    return SimulatorSource("demo", SimulatorSource.Config.model_validate(config))


def collected(**config):
    """Return all that one run as fast as possible emits."""
    messages = []
    source(realtime=False, **config).run(messages.append, threading.Event())
    return messages


def samples(messages, stream, sensor):
    return [
        b
        for message in messages
        for b in message
        if isinstance(b, SampleBatch) and (b.stream, b.sensor) == (stream, sensor)
    ]


@pytest.mark.parametrize("rate_hz", [33.3, 50.0, 100.0])
def test_stamps_lie_on_the_grid_of_the_sampling_rate(rate_hz):
    messages = collected(script=["walking:5.5", "sitting:2"], rate_hz=rate_hz)
    for sensor in ("accel", "gyro"):
        t = np.concatenate([b.t for b in samples(messages, "sim-1", sensor)])
        assert len(t) == pytest.approx(7.5 * rate_hz, abs=1)
        assert t.tolist() == [START_NS + round(k * 1e9 / rate_hz) for k in range(len(t))]


def test_a_message_holds_one_second_of_both_sensors_and_says_what_they_are():
    for message in collected(script=["walking:4"])[:4]:
        accel, gyro = (item for item in message if isinstance(item, SampleBatch))
        assert len(accel) == len(gyro) == 50
        assert accel.values.dtype == gyro.values.dtype == np.float32
        assert (accel.declared.unit, gyro.declared.unit) == ("m/s2", "rad/s")
        assert (accel.declared.sign, accel.declared.max_delay_s) == (1, 0.0)


def test_annotations_name_each_activity_from_its_beginning_and_end_with_none():
    messages = collected(script=["walking:4", "sitting:2.5", "walking:3"])
    notes = [(a.t, a.text) for m in messages for a in m if isinstance(a, Annotation)]
    times_s = [(t - START_NS) / NS_PER_S for t, _ in notes]
    assert times_s == [0.0, 4.0, 6.5, 9.5]
    assert [text for _, text in notes] == ["walking", "sitting", "walking", ""]


def test_the_same_seed_repeats_and_streams_are_different_wearers():
    first, again = (collected(script=["walking:3"], streams=2, seed=4) for _ in range(2))
    one, two = (
        np.concatenate([b.values for b in samples(first, f"sim-{n}", "accel")]) for n in (1, 2)
    )
    repeated = np.concatenate([b.values for b in samples(again, "sim-1", "accel")])
    assert np.array_equal(one, repeated)
    assert not np.allclose(one, two, atol=1.0)


def test_a_stream_stays_the_same_when_more_streams_are_asked_for():
    alone, among = (collected(script=["walking:3"], streams=n) for n in (1, 3))
    for mine, theirs in zip(
        samples(alone, "sim-1", "gyro"), samples(among, "sim-1", "gyro"), strict=True
    ):
        assert np.array_equal(mine.values, theirs.values)


def test_the_start_may_carry_any_offset():
    messages = collected(script=["walking:2"], start="2024-01-01T02:00:00.5+02:00")
    assert samples(messages, "sim-1", "accel")[0].t[0] == START_NS + NS_PER_S // 2


@pytest.mark.parametrize("placement", ["pocket", "waist"])
def test_the_default_script_visits_every_activity_of_the_placement(placement):
    messages = collected(placement=placement)
    texts = {a.text for m in messages for a in m if isinstance(a, Annotation)}
    assert texts == {*hard_simulator.model.activities(placement), ""}


def test_real_time_emits_a_second_after_each_second_and_repeats_the_script():
    stop, arrivals = threading.Event(), []
    simulator = source(script=["walking:2"], rate_hz=20.0)

    def emit(message):
        arrivals.append((time.time_ns(), message))
        if len(arrivals) == 3:
            stop.set()

    began_ns = time.time_ns()
    simulator.run(emit, stop)
    for number, (arrived_ns, message) in enumerate(arrivals):
        accel = next(item for item in message if isinstance(item, SampleBatch))
        assert len(accel) == 20
        assert accel.t[0] == pytest.approx(began_ns + number * NS_PER_S, abs=0.2 * NS_PER_S)
        assert accel.t[-1] < arrived_ns < accel.t[-1] + NS_PER_S
    texts = [a.text for _, message in arrivals for a in message if isinstance(a, Annotation)]
    assert texts == ["walking", "walking"]


def test_a_stop_is_noticed_within_half_a_second():
    stop, emitted = threading.Event(), []
    thread = threading.Thread(target=source().run, args=(emitted.append, stop))
    thread.start()
    asked_s = time.monotonic()
    stop.set()
    thread.join(timeout=5.0)
    assert not thread.is_alive()
    assert time.monotonic() - asked_s < 0.5
    assert not emitted


def test_a_stop_ends_a_fast_run_at_once():
    stop, messages = threading.Event(), []

    def emit(message):
        messages.append(message)
        stop.set()

    source(realtime=False, streams=3).run(emit, stop)
    assert len(messages) == 1


@pytest.mark.native
def test_a_thousand_stream_seconds_take_less_than_a_second_and_a_bit():
    began_s = time.process_time()
    messages = collected(script=["walking:100", "sitting:100"], streams=5)
    assert len(messages) == 5 * 201  # the last one of each stream ends the annotation
    # Four times what it must be, so that a busy machine does not fail it.
    assert time.process_time() - began_s < 4.0


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("flying:10", "'flying' is no activity at placement 'pocket'; use walking, upstairs"),
        ("laying:10", "'laying' is no activity at placement 'pocket'; use walking, upstairs"),
        ("walking", 'is not "activity:seconds", such as "walking:60"; activities: walking'),
        ("walking:soon", 'is not "activity:seconds"'),
        ("walking:-3", 'is not "activity:seconds"'),
        ("walking:nan", 'is not "activity:seconds"'),
        ("walking:1", "'walking:1': a bout lasts from 2 s to 86400 s"),
        ("walking:1e9", 'is not "activity:seconds"'),
        ("walking:100000", "a bout lasts from 2 s to 86400 s"),
    ],
)
def test_a_script_entry_that_cannot_be_is_refused_with_the_choices(entry, told):
    with pytest.raises(ValidationError) as refused:
        source(script=["walking:5", entry])
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        {"placement": "hat"},
        {"streams": 0},
        {"rate_hz": 5.0},
        {"rate_hz": float("nan")},
        {"seed": -1},
        {"start": "yesterday"},
        {"start": "2024-01-01T00:00:00"},
        {"speed": 2},
    ],
)
def test_other_impossible_settings_are_refused(config):
    with pytest.raises(ValidationError, match=next(iter(config))):
        source(**config)


def test_the_example_in_the_readme_is_a_valid_configuration():
    readme = Path(hard_simulator.__file__).with_name("README.md").read_text(encoding="utf-8")
    table = tomllib.loads(readme.split("```toml\n")[1].split("```")[0])["sources"]["demo"]
    assert table.pop("plugin") == "simulator"
    assert len(source(**table).config.bouts()) == 3


def test_the_library_example_in_the_readme_runs():
    readme = Path(hard_simulator.__file__).with_name("README.md").read_text(encoding="utf-8")
    names = {}
    exec(readme.split("```python\n")[1].split("```")[0], names)  # our own text
    assert names["accel"].shape == names["gyro"].shape == (3000, 3)
