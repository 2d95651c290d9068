from dataclasses import replace

import numpy as np
import pytest

from hard.api import Declared, SampleBatch
from hard.card import ModelCard
from hard_training.datasets import Recording, Segment
from hard_training.evaluation.streaming import ARGMAX, first_reference, streaming

S = 1_000_000_000
# What is usual of people is not of the made-up signals below.
CARD = ModelCard.load("pocket")[0].model_copy(update={"usual": None})


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
    assert shipped["recall"] == shipped["found"] == 1
    assert shipped["right_known"] == pytest.approx(1, abs=0.1)
    assert shipped["false_events_per_hour"] == 0
    assert shipped["mean_accuracy"] == pytest.approx(1, abs=0.1)
    assert argmax["onset_delay_s"]["median"] <= shipped["onset_delay_s"]["median"]
    assert found["examples"][0]["truth"] == [[0.0, 40.0, "walking"], [40.0, 80.0, "sitting"]]


def test_a_label_that_the_model_does_not_have_is_in_no_share_of_its_own():
    both = [recording("walking", 0), recording("sitting", 1)]
    strange = replace(recording("walking", 2), segments=(Segment(7 * S, 47 * S, "juggling"),))
    (_, alone), (_, with_strange) = (
        streaming(SaysWalkingWhenShaken(), {1: line}, 3.0)["rows"]
        for line in (both, [*both, strange])
    )
    assert with_strange["right_known"] == pytest.approx(alone["right_known"], abs=0.01)
    assert with_strange["segments"] == alone["segments"] == 2
    assert with_strange["right"] == pytest.approx(2 / 3, abs=0.01)


def test_the_argmax_baseline_follows_every_window():
    assert ARGMAX.smoothing == "none"
    assert (ARGMAX.min_dwell_s, ARGMAX.merge_s, ARGMAX.unknown_below) == (0, 0, 0)


def test_the_first_reference_is_the_gravity_of_the_first_walk():
    upright = CARD.input.model_copy(update={"frame": "upright"})
    found = first_reference([recording("sitting", 0), recording("walking", 1)], upright)
    assert found.up == pytest.approx([0, 0, 1], abs=0.01)
    assert first_reference([recording("sitting", 0)], upright) is None
