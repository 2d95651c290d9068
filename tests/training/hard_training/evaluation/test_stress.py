import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hard_training.evaluation.stress import _auroc, _merged_probs
from hard_training.evaluation.tables import no_class_cells, stress_cells, stress_text

# In a process of its own: the edge's runtime can't be loaded after TensorFlow.
MEASURE = """
import json, sys
from pathlib import Path
from hard.classifier import TFLiteClassifier
from hard_training.cache import cached_grid
from hard_training.datasets import DATA_SETS
from hard_training.evaluation.stress import stress

folder, own = Path(sys.argv[1]), DATA_SETS["motionsense"]
classifier = TFLiteClassifier.load("pocket")
recordings = [r for r in own.recordings(folder) if r.person in (4, 10)]
others = {"others": cached_grid(own, folder, classifier.card.input).recordings}
told = []
rows = stress(classifier, recordings, others, lambda text, share: told.append(share))
json.dump({"rows": rows, "told": told}, sys.stdout)
"""


@pytest.fixture(scope="module")
def found(motionsense, tmp_path_factory):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, motionsense],
        env=os.environ | {"HARD_CACHE": str(tmp_path_factory.mktemp("cache"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["told"] == sorted(measured["told"])
    assert measured["told"][-1] == 1
    return measured["rows"]


def row_of(found, change):
    return next(row for row in found["rows"] if row["change"] == change)


def test_every_change_has_a_row(found):
    changes = [row["change"] for row in found["rows"]]
    assert changes[:3] == [
        "as recorded",
        "phone turned about the vertical",
        "phone turned any way",
    ]
    assert {"20 Hz", "25 Hz", "50 Hz", "100 Hz", "200 Hz", "no gyroscope", "others"} <= set(changes)


def test_the_recorded_rate_is_as_recorded(found):
    own = row_of(found, "as recorded")
    assert row_of(found, "50 Hz")["accuracy"] == own["accuracy"]
    assert row_of(found, "phone turned any way")["windows"] == 3 * own["windows"]


def test_what_the_edge_refuses_says_why(found):
    assert "no gyroscope" in row_of(found, "no gyroscope")["refused"]
    assert "refused: " in stress_text(found | {"data_set": "made up", "people": "two"})


def test_another_data_set_is_told_by_the_recall_of_what_both_have(found):
    recall = row_of(found, "others")["recall"]
    assert set(recall) == {"walking", "upstairs", "downstairs", "running", "still"}


def test_motions_of_no_class_say_how_sure_the_model_is(found):
    by_motion = {row["motion"]: row for row in found["no_class"]}
    shaken = by_motion["shaken in the hand, simulated"]
    assert shaken["windows"] > 100
    shares = list(shaken["confident"].values())
    assert shares == sorted(shares, reverse=True)
    assert 0 <= shaken["auroc"] <= 1
    assert sum(shaken["shown_as"].values()) == pytest.approx(1, abs=0.01)
    cells = no_class_cells(found)
    assert all(len(row) == len(cells.head) for row in cells.rows)


def test_the_table_has_a_line_per_row(found):
    cells = stress_cells(found)
    assert len(cells.rows) == len(found["rows"])
    assert all(len(row) == len(cells.head) for row in cells.rows)


def test_postures_add_up_to_still():
    probs = np.array([[0.2, 0.3, 0.5]])
    merged = _merged_probs(probs, ("sitting", "walking", "standing"), ("still", "walking"))
    assert merged.tolist() == [[0.7, 0.3]]


@pytest.mark.parametrize(
    ("known", "strange", "area"),
    [([0.9, 0.8], [0.1, 0.2], 1), ([0.5], [0.5], 0.5), ([0.1, 0.9], [0.5], 0.5), ([0.1], [0.9], 0)],
)
def test_the_area_under_the_curve_is_how_often_the_known_is_surer(known, strange, area):
    assert _auroc(np.array(known), np.array(strange)) == area
