import numpy as np
import pytest

from hard.api import Declared, SampleBatch
from hard.card import ModelCard
from hard.decision import DecisionSettings
from hard_training.datasets import Recording, Segment
from hard_training.timeline import share_right

S = 1_000_000_000


class SaysWalkingWhenShaken:
    """A classifier of one rule, with a real card's contract."""

    # What is usual of people is not of the made-up signals below.
    card = ModelCard.load("pocket")[0].model_copy(update={"usual": None})

    def classify(self, windows):
        probs = np.full((len(windows), len(self.card.labels)), 0.01)
        shaken = windows[:, :, 2].std(axis=1) > 1
        rest = self.card.labels.index("sitting")
        probs[
            np.arange(len(windows)), np.where(shaken, self.card.labels.index("walking"), rest)
        ] = 1
        return probs


def recording(label, truth, seconds=30):
    t = np.arange(seconds * 50, dtype=np.int64) * 20_000_000
    accel = np.tile(np.array([0, 0, 9.81], np.float32), (len(t), 1))
    if label == "walking":
        accel[:, 2] += 4 * np.sin(np.arange(len(t)) / 4)
    messages = (
        [
            SampleBatch("x", "accel", t, accel.astype(np.float32), Declared("m/s2")),
            SampleBatch("x", "gyro", t, np.zeros_like(accel), Declared("rad/s")),
        ],
    )
    return Recording(label, 1, messages, (Segment(0, seconds * S, truth),))


def test_a_timeline_that_is_right_all_the_time_scores_one():
    joined = [recording("walking", "walking"), recording("sitting", "sitting")]
    share = share_right(joined, SaysWalkingWhenShaken(), DecisionSettings())
    assert share == pytest.approx(1.0, abs=0.06)


def test_what_is_shown_in_place_of_the_truth_counts_as_wrong():
    joined = [recording("walking", "walking"), recording("sitting", "walking")]
    share = share_right(joined, SaysWalkingWhenShaken(), DecisionSettings())
    assert share == pytest.approx(0.5, abs=0.05)


def test_time_without_a_label_of_the_model_does_not_count():
    joined = [recording("walking", "walking"), recording("sitting", "sitting to standing")]
    share = share_right(joined, SaysWalkingWhenShaken(), DecisionSettings())
    assert share == pytest.approx(1.0, abs=0.06)
