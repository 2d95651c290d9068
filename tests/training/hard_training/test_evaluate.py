import numpy as np
import pytest

from hard_training.evaluate import score
from hard_training.windows import LabelledWindows


def windows(label, person):
    n = len(label)
    return LabelledWindows(
        np.zeros((n, 8, 3), np.float32), np.array(label), np.array(person), np.zeros(n, np.int64)
    )


def test_the_mean_over_people_gives_each_the_same_weight():
    truth = windows([0, 0, 0, 1], [1, 1, 1, 2])
    found = score(truth, np.array([[0.9, 0.1]] * 4), ("a", "b"))
    assert found["accuracy"] == 0.75
    assert found["people"] == {"1": 1.0, "2": 0.0}
    assert found["mean_accuracy"] == 0.5
    low, high = found["interval_95"]
    assert low == 0
    assert high == 1


def test_precision_recall_and_f1_stand_per_label():
    truth = windows([0, 0, 1, 1, 1], [1] * 5)
    said = np.eye(2)[[0, 1, 1, 1, 0]]
    found = score(truth, said, ("a", "b"))
    assert found["labels"]["b"] == {
        "windows": 3,
        "precision": pytest.approx(2 / 3, abs=1e-4),
        "recall": pytest.approx(2 / 3, abs=1e-4),
        "f1": pytest.approx(2 / 3, abs=1e-4),
    }
    assert found["confusion"] == [[1, 1], [1, 2]]


def test_a_label_never_seen_nor_said_scores_nothing():
    found = score(windows([0, 0], [1, 2]), np.eye(2)[[0, 0]], ("a", "b"))
    assert found["labels"]["b"]["f1"] == 0
    assert found["labels"]["a"]["f1"] == 1


def test_calibration_error_is_the_gap_between_confidence_and_truth():
    truth = windows([0] * 10, [1] * 10)
    probs = np.array([[0.8, 0.2]] * 10)
    assert score(truth, probs, ("a", "b"))["calibration_error"] == pytest.approx(0.2, abs=1e-4)
