import numpy as np
import pytest

from hard.api import Declared, SampleBatch
from hard.card import ModelCard
from hard_training.datasets import Recording, Segment
from hard_training.evaluation.streaming import ARGMAX, Tally, first_reference, judge, streaming
from hard_training.timeline import Shown

S = 1_000_000_000
CARD = ModelCard.load("pocket")[0]


def truth(*bouts):
    return [Segment(begin * S, end * S, label) for begin, end, label in bouts]


def seen(*bouts):
    return [
        Shown(round(begin * S), round(end * S), name, round((begin + 2) * S))
        for begin, end, name in bouts
    ]


def test_what_is_shown_as_it_was_is_right_in_every_respect():
    tally = judge(
        truth((0, 60, "walking"), (60, 90, "sitting")),
        seen((1, 61, "walking"), (61, 90, "sitting")),
        CARD,
        tolerance_s=2,
    )
    figures = tally.figures()
    assert figures["event_precision"] == figures["event_recall"] == figures["bouts_found"] == 1
    assert figures["false_events_per_hour"] == 0
    assert figures["onset_delay_s"] == [3.0, 3.0]
    assert figures["fragments"] == 1
    assert figures["share_of_time_right"] == pytest.approx(88 / 90, abs=1e-4)


def test_an_activity_that_did_not_happen_is_a_false_event():
    tally = judge(
        truth((0, 100, "walking")),
        seen((0, 40, "walking"), (40, 44, "upstairs"), (44, 100, "walking")),
        CARD,
        tolerance_s=2,
    )
    assert (tally.events, tally.events_right, tally.events_false) == (3, 1, 1)
    assert tally.fragments == [2]
    assert tally.figures()["false_events_per_hour"] == 36.0


def test_a_late_begin_is_found_but_is_no_right_event():
    tally = judge(truth((0, 60, "walking")), seen((10, 60, "walking")), CARD, tolerance_s=3)
    assert (tally.bouts_found, tally.bouts_begun_right, tally.events_false) == (1, 0, 0)
    assert tally.delays_s == [12.0]


def test_one_shown_bout_is_the_begin_of_one_labelled_bout_only():
    tally = judge(
        truth((0, 2, "walking"), (3, 5, "walking")), seen((1, 5, "walking")), CARD, tolerance_s=3
    )
    assert tally.bouts_begun_right == 1
    assert tally.events_right == tally.events == 1


def test_what_is_shown_where_nothing_is_labelled_does_not_count():
    tally = judge(truth((0, 60, "walking")), seen((100, 160, "running")), CARD, tolerance_s=3)
    assert (tally.events, tally.events_false, tally.right_s) == (0, 0, 0)


def test_unknown_is_no_event_and_its_time_is_not_right():
    tally = judge(truth((0, 60, "walking")), seen((0, 60, "unknown")), CARD, tolerance_s=3)
    assert (tally.events, tally.unknown_s, tally.right_s) == (0, 60, 0)


def test_still_is_right_for_each_posture_and_one_bout_of_it_for_several():
    tally = judge(
        truth((0, 60, "sitting"), (60, 120, "standing")),
        seen((0, 120, "still")),
        CARD,
        tolerance_s=3,
    )
    assert (tally.bouts_begun_right, tally.events, tally.events_right) == (2, 1, 1)
    assert tally.right_s == 120


def test_people_are_added_up():
    tally = Tally()
    for _ in range(2):
        tally.add(judge(truth((0, 60, "walking")), seen((0, 60, "walking")), CARD, 3))
    assert tally.bouts == 2
    assert tally.delays_s == [2.0, 2.0]


def test_nothing_labelled_has_no_shares():
    figures = Tally().figures()
    assert figures["event_precision"] is None
    assert figures["share_of_time_right"] is None
    assert figures["onset_delay_s"] is None


class SaysWalkingWhenShaken:
    """A classifier of one rule, with a real card's contract."""

    card = CARD

    def classify(self, windows):
        probs = np.full((len(windows), len(self.card.labels)), 0.01)
        which = np.where(windows[:, :, 2].std(axis=1) > 1, "walking", "sitting")
        columns = [self.card.labels.index(label) for label in which]
        probs[np.arange(len(windows)), columns] = 1
        return probs


def recording(label, order, seconds=40):
    t = np.arange(seconds * 50, dtype=np.int64) * 20_000_000 + 7 * S
    accel = np.tile(np.array([0, 0, 9.81]), (len(t), 1))
    if label == "walking":
        accel[:, 2] += 4 * np.sin(2 * np.pi * 1.9 * t / S)
    message = [
        SampleBatch("x", "accel", t, accel.astype(np.float32), Declared("m/s2")),
        SampleBatch("x", "gyro", t, np.zeros_like(accel, np.float32), Declared("rad/s")),
    ]
    return Recording(label, 1, (message,), (Segment(7 * S, (7 + seconds) * S, label),), order)


def test_whole_recordings_go_through_the_pipeline_and_come_out_as_a_table():
    found = streaming(
        SaysWalkingWhenShaken(), {1: [recording("walking", 0), recording("sitting", 1)]}, 3.0
    )
    argmax, shipped = found["rows"]
    assert (argmax["decision"], shipped["decision"]) == ("argmax", "as shipped")
    assert shipped["event_recall"] == 1
    assert shipped["mean_accuracy"] == pytest.approx(1, abs=0.1)
    assert argmax["onset_delay_s"][0] <= shipped["onset_delay_s"][0]
    assert found["examples"][0]["truth"] == [[0.0, 40.0, "walking"], [40.0, 80.0, "sitting"]]


def test_the_argmax_baseline_follows_every_window():
    assert ARGMAX.smoothing == "none"
    assert (ARGMAX.min_dwell_s, ARGMAX.merge_s, ARGMAX.unknown_below) == (0, 0, 0)


def test_the_first_reference_is_the_gravity_of_the_first_walk():
    upright = CARD.input.model_copy(update={"frame": "upright"})
    found = first_reference([recording("sitting", 0), recording("walking", 1)], upright)
    assert found.up == pytest.approx([0, 0, 1], abs=0.01)
    assert first_reference([recording("sitting", 0)], upright) is None
