"""The pipe as a whole: the same events however it is fed, and no input that breaks it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S, Annotation, Declared, SampleBatch
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.metrics import Work
from hard.pipeline import Pipeline
from hard_simulator.model import Bout, Motion, Wearer
from tests.hard.signals import (
    ACCEL_ONLY,
    T0_NS,
    FakeClassifier,
    batches,
    check_events,
    cuts,
    messages,
    seconds,
    seeds,
    uniform,
    worn,
)

FAKE = FakeClassifier()
LABELS = FAKE.card.labels


def pipeline(classifier=FAKE, *, max_streams=1000, evicting=lambda _: None, **decision):
    chosen = classifier, DecisionSettings(**decision)
    return Pipeline(lambda _: chosen, max_streams=max_streams, evicting=evicting)


def moving(seconds_, seed=0, rate_hz=50.0, start_ns=T0_NS):
    """Return stamps and samples of a device that moves little, much and little again."""
    n = int(seconds_ * rate_hz)
    x = worn(n, seed)
    strength = np.repeat([0.3, 2.0, 8.0, 0.3], -(-n // 4))[:n]
    x[:, :3] += np.random.default_rng(seed).normal(size=(n, 3)) * strength[:, None]
    return uniform(n, rate_hz, start_ns), x.astype(np.float32)


def fed(pipe, feed, reason="end_of_data"):
    events = [event for message in feed for event in pipe.feed(message)]
    return events + pipe.finish(reason)


def text(events):
    return [json.dumps(event.payload()) for event in events]


def activities(events):
    return [e.activity for e in events if e.kind == "enter"]


def test_a_stream_of_which_nothing_is_known_yet_says_no_time():
    pipe = pipeline()
    pipe.feed(batches(*(part[:10] for part in moving(1))))
    payload = pipe.state("s").payload()
    assert payload["status"] == "checking"
    assert [payload[key] for key in ("since", "since_ns", "t", "t_ns")] == [None] * 4


def test_the_work_is_counted_and_timed_whatever_the_stream():
    ticks = iter(range(1_000_000))
    work = Work(lambda: float(next(ticks)))
    seen = []
    pipe = Pipeline(
        lambda _: (FAKE, DecisionSettings()), max_streams=1, watch=seen.append, work=work
    )
    t, x = moving(40)
    keep = (t < T0_NS + 10 * NS_PER_S) | (t > T0_NS + 12 * NS_PER_S)
    for stream in ("a", "b"):  # the first makes room for the second
        for message in seconds(t[keep], x[keep]):
            pipe.feed([replace(batch, stream=stream) for batch in message])
    pipe.finish("end_of_data")
    assert work.gaps == 2
    assert work.windows == sum(len(batch.windows) for batch in seen) > 20
    assert work.inference_s == len(seen)


UPRIGHT = {"gravity": [0.1, 9.7, 1.0], "evidence": 12, "t_learned_ns": T0_NS, "source": "gait"}


def test_what_one_pipeline_knew_of_a_stream_another_can_remember():
    first, second = pipeline(), pipeline()
    assert first.memory("s") == {}
    first.remember("s", {"upright": UPRIGHT})
    assert first.memory("s") == {"upright": UPRIGHT}
    second.remember("s", first.memory("s"))
    second.feed(batches(*moving(1)))
    assert second.memory("s") == {"upright": UPRIGHT}  # though this model does not ask
    second.remember("to come", {"upright": UPRIGHT})
    assert second.memories() == {"s": {"upright": UPRIGHT}, "to come": {"upright": UPRIGHT}}


def test_a_calibration_that_waits_is_remembered_with_its_time():
    classifier = TFLiteClassifier.load("pocket-upright")
    t, x = moving(20)
    first, second = pipeline(classifier), pipeline(classifier)
    for message in seconds(t, x)[:8]:
        first.feed(message)
    first.calibrate("s")
    state = first.memory("s")
    assert t[0] < state["calibrating_since_ns"] <= t[-1]
    second.remember("s", state)
    second.feed(seconds(t, x)[8])
    assert second.memory("s") == state


@pytest.mark.parametrize(
    "state",
    [
        {"upright": []},
        {"upright": {}},
        {"upright": {**UPRIGHT, "source": "hearsay"}},
        {"calibrating_since_ns": "now"},
        {"calibrating_since_ns": 2**64},
        {"paused_until_ns": True},
    ],
)
def test_what_no_pipeline_knew_is_refused(state):
    with pytest.raises(ValueError, match="not a"):
        pipeline().remember("s", state)


# -- the same however it is fed ----------------------------------------------------------------


def test_a_stream_without_a_window_for_long_says_so_wherever_the_feed_is_cut():
    t, x = moving(40)
    keep = np.r_[0:78, 454:577, 938:2000]  # the first window ends 23 s after the first sample
    t, x = t[keep], x[keep]
    whole = fed(pipeline(), [batches(t, x)])
    assert [event.status for event in whole if event.status] == ["ok", "no_data", "ok"]
    assert text(fed(pipeline(), seconds(t, x))) == text(whole)


@settings(deadline=None, max_examples=10)
@given(data=st.data(), seed=seeds, rate_hz=st.sampled_from([25.0, 50.0, 104.0]))
def test_events_are_the_same_bytes_wherever_the_feed_is_cut(data, seed, rate_hz):
    t, x = moving(40, seed % 1000, rate_hz)
    rng = np.random.default_rng(seed)
    for _ in range(int(rng.integers(0, 3))):
        at = int(rng.integers(0, len(t)))
        keep = (np.arange(len(t)) < at) | (np.arange(len(t)) >= at + rng.integers(1, 400))
        t, x = t[keep], x[keep]
    t[len(t) // 2 :] += int(rng.choice([0, 3600, -3600, 14])) * NS_PER_S
    whole = text(fed(pipeline(), [batches(t, x)]))
    assert text(fed(pipeline(), seconds(t, x) if (np.diff(t) > 0).all() else [batches(t, x)])) == (
        whole
    )
    assert text(fed(pipeline(), messages(t, x, data.draw(cuts(len(t), 80))))) == whole


def test_a_silence_before_a_clock_set_back_is_told_wherever_the_feed_is_cut():
    t, x = moving(40, 209, 25.0)
    keep = (np.arange(len(t)) < 300) | (np.arange(len(t)) >= 590)
    t, x = t[keep], x[keep]
    t[len(t) // 2 + 60 :] -= 3600 * NS_PER_S
    whole = text(fed(pipeline(), [batches(t, x)]))
    assert any('"no_data"' in event for event in whole)
    for cut in range(50, len(t), 37):
        assert text(fed(pipeline(), messages(t, x, [0, cut, len(t)]))) == whole


def test_a_stream_that_never_gives_a_window_says_no_data():
    t, x = moving(60)
    t = t // (2 * NS_PER_S) * 2 * NS_PER_S  # a clock of two seconds
    statuses = [event.status for event in fed(pipeline(), seconds(t, x)) if event.status]
    assert statuses == ["ok", "no_data"]


@settings(deadline=None, max_examples=40)
@given(data=st.data(), no_data_after_s=st.sampled_from([3.0, 10.0]))
def test_a_silence_before_a_rejection_is_told_wherever_the_feed_is_cut(data, no_data_after_s):
    t, x = moving(50)
    second = (t - T0_NS) / NS_PER_S
    x[second >= 37, :3] -= np.float32([0, 0, 9.8])
    keep = (second < 30) | (np.arange(len(t)) % 12 < 5)  # windows that are not classified
    t, x = t[keep], x[keep]

    def events(at):
        return text(fed(pipeline(no_data_after_s=no_data_after_s), messages(t, x, at)))

    whole = events([0, len(t)])
    assert any('"no_data"' in event for event in whole)
    assert any('"rejected"' in event for event in whole)
    assert events(data.draw(cuts(len(t), 60))) == whole


def test_what_a_stream_is_since_is_never_later_than_now_though_the_clock_was_set_back():
    t, x = moving(40)
    t[1000:] -= 3600 * NS_PER_S
    pipe = pipeline()
    fed(pipe, [batches(t, x)])
    state = pipe.state("s")
    assert (state.status, state.activity) == ("ok", None)
    assert t[1000] <= state.since <= state.t <= t[-1]


def test_a_simulated_walk_through_the_bundled_model_is_the_same_bytes_wherever_cut():
    classifier = TFLiteClassifier.load("pocket")
    rng = np.random.default_rng(3)
    script = [Bout("standing", 20), Bout("walking", 30), Bout("sitting", 25)]
    accel, gyro = Motion(Wearer.draw("pocket", rng), script, 50.0, rng).read(75 * 50)
    t, x = uniform(len(accel), start_ns=T0_NS + 1_234_567), np.hstack([accel, gyro])
    events = fed(pipeline(classifier), seconds(t, x))
    assert [a for a in activities(events) if a != "unknown"] == ["standing", "walking", "sitting"]
    check_events(events, classifier.card.states)
    for step in (7, 333, len(t)):
        feed = messages(t, x, [*range(0, len(t), step), len(t)])
        assert text(fed(pipeline(classifier), feed)) == text(events)


@pytest.mark.parametrize("numbered", [False, True])
def test_swapped_messages_within_the_delay_give_the_same_events(numbered):
    t, x = moving(40)
    in_order = seconds(t, x, max_delay_s=3.0)
    if numbered:
        in_order = [
            [replace(b, message_id=i) for b in message] for i, message in enumerate(in_order)
        ]
    swapped = [in_order[i] for i in sorted(range(len(in_order)), key=lambda i: i + i % 3 * 0.9)]
    assert swapped != in_order
    assert text(fed(pipeline(), swapped)) == text(fed(pipeline(), in_order))


def test_events_are_the_same_beside_other_streams():
    alone, together = {}, {f"s{i}": [] for i in range(200)}
    pipe = pipeline()
    feeds = {
        name: seconds(*moving(8, seed=i % 5, start_ns=T0_NS + i * 10_000_000), stream=name)
        for i, name in enumerate(together)
    }
    for second in range(8):
        message = [batch for feed in feeds.values() for batch in feed[second]]
        for event in pipe.feed(message):
            together[event.stream].append(event)
    for event in pipe.finish("end_of_data"):
        together[event.stream].append(event)
    for name in ("s0", "s77", "s199"):
        alone[name] = fed(pipeline(), feeds[name])
        assert text(together[name]) == text(alone[name])
    for events in together.values():
        check_events(events, LABELS)
        assert activities(events)


# -- silence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gap_s", [11, 40, 3000])
@pytest.mark.parametrize("offset", [0, 7_000_000])
def test_a_tick_says_what_a_gap_in_the_data_says(gap_s, offset):
    t, x = moving(40)
    t = t + offset
    t[900:] += gap_s * NS_PER_S
    before, after = seconds(t[:900], x[:900]), seconds(t[900:], x[900:])
    gap, ticked = pipeline(), pipeline()
    events = [event for message in before for event in ticked.feed(message)]
    events += ticked.tick("s")
    assert [e.status for e in events if e.kind == "status"] == ["ok", "no_data"]
    events += fed(ticked, after)
    assert text(events) == text(fed(gap, before + after))


def test_when_a_bout_begins_its_evidence_reaches_to_where_that_was_decided():
    t, x = moving(10)
    pipe = pipeline()
    pipe.feed(batches(t, x, stream="other"))
    for message in seconds(t, x):
        entered = [event for event in pipe.feed(message) if event.kind == "enter"]
        if entered:
            break
    assert pipe.evidence(["s", "nobody"]) == {"s": pipe.evidence()["s"]}
    assert pipe.evidence(["s"])["s"] >= entered[-1].t_decided


def test_a_tick_gives_at_once_what_waits_for_the_delay():
    t, x = moving(10)
    pipe = pipeline()
    events = [e for message in seconds(t, x, max_delay_s=3.0) for e in pipe.feed(message)]
    before = pipe.evidence()["s"]
    *_, left = [e for e in pipe.tick("s") if e.kind == "exit"]
    assert left.t_end > before + 2 * NS_PER_S
    assert events


def test_data_that_go_on_after_a_tick_as_if_nothing_had_been_make_no_overlapping_bout():
    t, x = moving(40)
    pipe = pipeline()
    feed = seconds(t, x)
    events = [e for message in feed[:18] for e in pipe.feed(message)]
    events += pipe.tick("s")
    events += fed(pipe, feed[18:])
    check_events(events, LABELS)
    assert [e.status for e in events if e.kind == "status"] == ["ok", "no_data", "ok"]


def test_a_tick_or_a_cut_of_an_unknown_stream_says_nothing():
    assert pipeline().tick("nobody") == pipeline().cut("nobody") == []
    assert pipeline().state("nobody") is None


def test_ticks_may_repeat():
    pipe = pipeline()
    t, x = moving(10)
    pipe.feed(batches(t, x))
    assert pipe.tick("s")
    assert pipe.tick("s") == []
    assert pipe.state("s").status == "no_data"


# -- many streams ------------------------------------------------------------------------------


def test_the_stream_silent_longest_is_evicted_and_its_bout_closed():
    pipe = pipeline(max_streams=2)
    t, x = moving(10)
    events = pipe.feed(batches(t, x, stream="a")) + pipe.feed(batches(t, x, stream="b"))
    events += pipe.feed(batches(t[-1:] + 20_000_000, x[-1:], stream="a"))
    evicted = pipe.feed(batches(t, x, stream="c"))
    last = [e for e in evicted if e.kind == "exit" and e.reason == "evicted"]
    assert [e.stream for e in last] == ["b"]
    assert pipe.counts["evicted"] == 1
    assert pipe.state("b") is None
    assert pipe.state("a") is not None
    events += evicted + pipe.finish("end_of_data")
    for name in "abc":
        check_events([e for e in events if e.stream == name], LABELS)


def test_strangers_without_a_bout_make_room_before_one_who_has_one():
    pipe = pipeline(max_streams=3)
    t, x = moving(30)
    events = pipe.feed(batches(t[:1000], x[:1000], stream="a"))
    for i in range(20):
        events += pipe.feed(batches(*moving(0.2), stream=f"s{i}"))
    events += pipe.feed(batches(t[1000:], x[1000:], stream="a"))
    assert pipe.counts["evicted"] == 18
    assert "evicted" not in {e.reason for e in events if e.stream == "a"}


def test_who_makes_room_is_told_before_and_an_eviction_asked_for_is_the_same():
    told, (t, x) = [], moving(10)
    pipe, asked = pipeline(max_streams=1, evicting=told.append), pipeline()
    assert pipe.feed(batches(t, x)) == asked.feed(batches(t, x))
    by_need = [e for e in pipe.feed(batches(t, x, stream="b")) if e.stream == "s"]
    assert by_need == asked.evict("s") != []
    assert (told, asked.state("s"), asked.evict("s")) == (["s"], None, [])


def test_many_strangers_take_no_more_than_the_room_there_is():
    pipe = pipeline(max_streams=5)
    for i in range(300):
        pipe.feed(batches(*moving(0.2), stream=f"s{i}"))
    assert len(pipe._streams) == 5
    assert pipe.counts["evicted"] == 295


# -- what is left out --------------------------------------------------------------------------


def test_annotations_and_nothing_are_no_samples():
    pipe = pipeline()
    assert pipe.feed([]) == []
    assert pipe.feed([Annotation("s", T0_NS, "walking")]) == []
    assert pipe.feed(batches(uniform(0), worn(0))) == []
    assert pipe.finish("shutdown") == []


def test_windows_that_are_mostly_bridges_are_counted_and_not_classified():
    t, x = moving(40)
    keep = np.arange(len(t)) % 11 < 6
    watched = []
    chosen = FAKE, DecisionSettings()
    pipe = Pipeline(lambda _: chosen, watch=watched.append)
    events = fed(pipe, [batches(t[keep], x[keep])])
    assert pipe.counts["low_coverage"] > 20
    assert sum(len(batch.windows) for batch in watched) == 0
    assert activities(events) == []


def test_a_cut_keeps_windows_from_straddling_two_recordings():
    t, x = moving(10)
    watched = []
    chosen = FAKE, DecisionSettings()
    pipe = Pipeline(lambda _: chosen, watch=watched.append)
    pipe.feed(batches(t, x))
    pipe.cut("s")
    pipe.feed(batches(t + 10 * NS_PER_S, x))
    pipe.finish("end_of_data")
    starts = np.concatenate([b.windows.t_start for b in watched])
    ends = np.concatenate([b.windows.t_end for b in watched])
    assert not ((starts <= t[-1]) & (ends > t[-1] + 20_000_000)).any()
    assert {b.windows.segment for b in watched if len(b.windows)} == {0, 1}


def test_finishing_closes_every_bout_with_the_reason_and_may_be_repeated():
    pipe = pipeline()
    t, x = moving(20)
    for name in "ab":
        pipe.feed(batches(t, x, stream=name))
    assert set(pipe.evidence()) == {"a", "b"}
    left = [e for e in pipe.finish("shutdown") if e.reason == "shutdown"]
    assert [e.stream for e in left] == ["a", "b"]
    assert pipe.evidence() == {}
    assert pipe.finish("shutdown") == []


# -- paused, renewed, without a gyroscope ------------------------------------------------------


def statuses(events):
    return [(e.previous, e.status) for e in events if e.kind == "status"]


def test_a_paused_stream_closes_its_bout_counts_what_comes_and_says_nothing_until_resumed():
    pipe = pipeline()
    parts = seconds(*moving(60))
    before = [e for part in parts[:20] for e in pipe.feed(part)]
    paused = pipe.pause("s")
    assert [(e.kind, e.reason) for e in paused if e.kind == "exit"] == [("exit", "paused")]
    assert statuses(paused) == [("ok", "paused")]
    assert pipe.pause("s") == []
    assert [e for part in parts[20:30] for e in pipe.feed(part)] == []
    assert pipe.tick("s") == []
    assert pipe.counts["paused"] == 2 * 500  # both sensors
    assert (pipe.state("s").status, pipe.state("s").activity) == ("paused", None)
    resumed = pipe.resume("s")
    assert statuses(resumed) == [("paused", "no_data")]  # as the tick told
    after = [e for part in parts[30:] for e in pipe.feed(part)] + pipe.finish("shutdown")
    assert statuses(after)[0] == ("no_data", "ok")
    events = before + paused + resumed + after
    check_events(events, LABELS)
    assert not any(e.t_start < parts[30][0].t[0] for e in after if e.kind == "enter")
    with pytest.raises(ValueError, match="s is not paused"):
        pipe.resume("s")
    with pytest.raises(ValueError, match="nothing has come from other"):
        pipe.pause("other")


@pytest.mark.parametrize("burst_s", [1, 2])
def test_a_stream_that_falls_silent_before_its_first_window_is_told_as_no_data(burst_s):
    pipe = pipeline()
    parts = seconds(*moving(burst_s + 10))
    events = [e for part in parts[:burst_s] for e in pipe.feed(part)] + pipe.tick("s")
    assert statuses(events)[-1][1] == "no_data"
    assert pipe.state("s").status == "no_data"
    assert pipe.tick("s") == []
    later = [e for part in parts[burst_s:] for e in pipe.feed(part)]
    assert statuses(later) == [("no_data", "ok")]


def test_a_silent_stream_is_silent_again_after_a_pause_until_something_comes():
    pipe = pipeline()
    parts = seconds(*moving(30))
    events = [e for part in parts[:10] for e in pipe.feed(part)] + pipe.tick("s")
    assert statuses(events)[-1] == ("ok", "no_data")
    pipe.pause("s")
    assert statuses(pipe.resume("s")) == [("paused", "no_data")]
    pipe.pause("s")
    assert pipe.feed(parts[10]) == []
    assert statuses(pipe.resume("s")) == [("paused", "checking")]


def test_a_stream_that_was_rejected_is_so_again_when_it_is_resumed():
    pipe = pipeline()
    t, x = moving(20)
    x[:, :3] /= 9.81  # in g, declared as m/s²
    parts = seconds(t, x)
    events = [e for part in parts[:8] for e in pipe.feed(part)]
    assert statuses(events) == [("checking", "rejected")]
    pipe.pause("s")
    (back,) = pipe.resume("s")
    assert (back.status, back.reason) == ("rejected", events[0].reason)
    assert [e for part in parts[8:] for e in pipe.feed(part)] == []


def test_a_pause_is_remembered_by_the_next_pipeline_which_tells_it_with_the_first_sample():
    first, second = pipeline(), pipeline()
    parts = seconds(*moving(10))
    first.feed(parts[0])
    first.pause("s")
    assert first.memory("s") == {"paused_until_ns": None}
    first.pause("s", T0_NS)
    assert first.memory("s") == {"paused_until_ns": T0_NS}
    second.remember("s", first.memory("s"))
    assert second.paused() == {"s": T0_NS}
    events = [e for part in parts for e in second.feed(part)]
    assert statuses(events) == [("checking", "paused")]
    assert second.counts["paused"] == 2 * 500
    with pytest.raises(ValueError, match="s is paused: resume it first"):
        second.calibrate("s")
    assert statuses(second.resume("s")) == [("paused", "checking")]


def test_only_streams_for_which_something_changed_begin_anew():
    chosen = dict.fromkeys("ab", (FAKE, DecisionSettings()))
    pipe = Pipeline(lambda name: chosen[name])
    t, x = moving(60)
    parts = {name: seconds(t, x, stream=name) for name in "ab"}
    events = [e for i in range(25) for name in "ab" for e in pipe.feed(parts[name][i])]
    other = {**chosen, "b": (FakeClassifier(name="other"), DecisionSettings())}
    unchanged = pipe.reconfigure(chosen.get, lambda _: ("x", "y", "z"), lambda _: None, 10)
    assert unchanged == []
    assert pipe.reconfigure(other.get, lambda _: ("x", "y", "z"), lambda _: None, 10) == ["b"]
    renewed = pipe.renew("b")
    (exit_, checked) = renewed
    assert (exit_.stream, exit_.kind, exit_.reason) == ("b", "exit", "changed")
    assert (checked.stream, checked.previous, checked.status) == ("b", "ok", "checking")
    rest = [e for i in range(25, 60) for name in "ab" for e in pipe.feed(parts[name][i])]
    events += renewed + rest + pipe.finish("end_of_data")
    of_a = [e for e in events if e.stream == "a"]
    of_b = [e for e in events if e.stream == "b"]
    assert text(of_a) == text(fed(pipeline(), parts["a"]))
    check_events(of_b, LABELS)
    later = [e.model for e in of_b if e.t_decided > exit_.t_decided]
    assert set(later) == {other["b"][0].card.identity}
    assert pipe.renew("unknown") == []


WITHOUT = FakeClassifier(name="accel", wanted=ACCEL_ONLY)


def doing_without():
    choice = FAKE, DecisionSettings()
    other = WITHOUT, DecisionSettings()
    return Pipeline(lambda _: choice, without_gyro=lambda _: other)


def accel_only(message):
    return [batch for batch in message if batch.sensor != "gyro"]


def test_a_stream_without_a_gyroscope_is_told_by_a_model_that_needs_none_from_its_first_sample():
    parts = [accel_only(part) for part in seconds(*moving(40))]
    events = fed(doing_without(), parts)
    meant = Pipeline(lambda _: (WITHOUT, DecisionSettings()))
    assert text(events) == text(fed(meant, parts))
    assert activities(events)
    short = fed(doing_without(), parts[:3])  # told by the end only
    assert statuses(short) == [("checking", "ok")]
    assert statuses(fed(pipeline(), parts[:5])) == [("checking", "rejected")]


def test_the_model_that_was_wanted_takes_over_once_a_gyroscope_comes():
    pipe = doing_without()
    parts = seconds(*moving(40))
    feed = [accel_only(part) for part in parts[:15]] + parts[15:]
    events = fed(pipe, feed)
    check_events(events, LABELS)
    models = list(dict.fromkeys(e.model for e in events))
    assert models == [WITHOUT.card.identity, FAKE.card.identity]
    took_over = next(e for e in events if e.model == FAKE.card.identity)
    assert took_over.t_start <= int(parts[20][0].t[0])


def test_the_next_run_opens_new_bouts_from_the_grid_it_finds():
    t, x = moving(40)
    feed = seconds(t, x)
    first, second = fed(pipeline(), feed[:20], "shutdown"), fed(pipeline(), feed[20:])
    bouts = {e.bout for e in first if e.bout} & {e.bout for e in second if e.bout}
    assert not bouts


# -- hostile input -----------------------------------------------------------------------------

STAMPS = [0, 1, -1, 2**63 - 1, -(2**63), T0_NS, T0_NS + 1, 2**62, 9 * 10**18]
VALUES = [0.0, 9.8, 1e4, -1e4, 1e38, float("nan"), float("inf"), 1e-38]


@st.composite
def hostile_messages(draw):
    """Draw messages of any sensors, stamps, values, units and numbers the types allow."""
    rng = np.random.default_rng(draw(seeds))
    found, clock = [], T0_NS
    for _ in range(draw(st.integers(1, 25))):
        message = []
        start = clock
        for sensor in draw(
            st.lists(st.sampled_from(["accel", "gyro", "linear_accel", "gravity"]), max_size=4)
        ):
            n = draw(st.sampled_from([0, 1, 2, 50, 300]))
            rate_hz = draw(st.sampled_from([1.0, 10.0, 50.0, 200.0, 1e6, 1e9]))
            t = uniform(n, rate_hz, start)
            x = worn(n, int(rng.integers(1000)))[:, :3].copy()
            how = draw(st.sampled_from(["right", "right", "stray", "values", "shuffled", "same"]))
            if how == "stray" and n:
                t[rng.integers(0, n)] = draw(st.sampled_from(STAMPS))
            elif how == "values" and n:
                x[rng.integers(0, n), rng.integers(0, 3)] = draw(st.sampled_from(VALUES))
            elif how == "shuffled":
                rng.shuffle(t)
            elif how == "same":
                t[:] = start
            unit = draw(st.sampled_from(["m/s2", "m/s2", "g"]))
            declared = Declared(
                "rad/s" if sensor == "gyro" else unit,
                draw(st.sampled_from([1, 1, -1, None])),
                draw(st.sampled_from([0.0, 0.0, 3.0])),
            )
            number = draw(st.sampled_from([None, 0, 5, 2**80]))
            message.append(SampleBatch("s", sensor, t, x, declared, None, number))
            clock = max(clock, int(start + n / rate_hz * NS_PER_S))
        clock += draw(st.sampled_from([0, 0, 0, 1, 12, -12, 3600])) * NS_PER_S
        found.append(message)
    return found


@settings(deadline=None, max_examples=30)
@given(feed=hostile_messages(), ticks=st.sets(st.integers(0, 25)))
def test_no_input_breaks_the_pipe_or_its_word(feed, ticks):
    pipe = pipeline()
    events = []
    for i, message in enumerate(feed):
        events += pipe.feed(message)
        if i in ticks:
            events += pipe.tick("s")
    events += pipe.finish("end_of_data")
    check_events(events, LABELS)
    for event in events:
        json.dumps(event.payload(), allow_nan=False)


def test_a_broken_stream_does_not_harm_its_neighbour():
    t, x = moving(30)
    good = seconds(t, x, stream="good")
    bad = [
        [replace(b, t=np.full(len(b), T0_NS), stream="bad") for b in message] for message in good
    ]
    pipe = pipeline()
    events = [e for a, b in zip(good, bad, strict=True) for e in pipe.feed([*b, *a])]
    events += pipe.finish("end_of_data")
    assert text([e for e in events if e.stream == "good"]) == text(fed(pipeline(), good))


def test_a_clock_that_jumps_every_second_is_no_activity():
    t, x = moving(60)
    t += (np.arange(len(t)) // 60 % 2) * 3600 * NS_PER_S
    pipe = pipeline()
    events = fed(pipe, messages(t, x, [*range(0, len(t), 60), len(t)]))
    check_events(events, LABELS)
    assert activities(events) == []
    assert pipe.counts["jump"] > 20


# -- cut and resumed ---------------------------------------------------------------------------


def test_a_stream_goes_on_in_another_pipeline_where_it_was_left():
    feed = seconds(*moving(60))
    whole = text(fed(pipeline(), feed))
    first, second = pipeline(), pipeline()
    events = [event for message in feed[:33] for event in first.feed(message)]
    second.restore("s", json.loads(json.dumps(first.checkpoint("s"), allow_nan=False)))
    assert second.state("s") == first.state("s")
    assert text(events + fed(second, feed[33:])) == whole


def test_a_paused_stream_is_paused_after_it_was_restored():
    first, second = pipeline(), pipeline()
    first.feed(seconds(*moving(20))[0])
    first.pause("s")
    second.restore("s", first.checkpoint("s"))
    assert second.resume("s")


def test_a_checkpoint_of_another_model_or_none_at_all_is_refused():
    pipe, other = pipeline(), pipeline(FakeClassifier(name="other"))
    with pytest.raises(ValueError, match="nothing has come from s"):
        pipe.checkpoint("s")
    pipe.feed(seconds(*moving(20))[0])
    checkpoint = pipe.checkpoint("s")
    for pipe_, state in [
        (other, checkpoint),
        (pipeline(), {**checkpoint, "version": 0}),
        (pipeline(), {**checkpoint, "state": 5}),
        (pipeline(), {}),
    ]:
        with pytest.raises(ValueError, match="checkpoint of s"):
            pipe_.restore("s", state)
        assert pipe_.state("s") is None
