import dataclasses

import numpy as np
import pytest

from hard_training.augmentation import Augmentation
from hard_training.datasets import DATA_SETS
from hard_training.evaluation.anchors import anchors_for
from hard_training.evaluation.crossval import LEAKY, Material, crossval
from hard_training.evaluation.tables import crossval_text
from hard_training.evaluation.trials import Plan, Trial, learned
from hard_training.recipe import Recipe
from tests.training.hard_training.evaluation.made_up import material, windows

pytestmark = pytest.mark.training  # scikit-learn comes with that extra
INPUT = Recipe(name="any", placement="any", data_sets=("any",)).input
PLAN = Plan(("resting", "moving"), INPUT, Augmentation())
HAPT = DATA_SETS["hapt"]


def compared(tmp_path, learners=("knn",), people=range(1, 8), **how):
    settings = {"folds": 3, "leaky": False, "store": tmp_path, "on_step": lambda *_: None}
    return crossval(HAPT, material(people), learners, PLAN, **(settings | how))


def test_each_window_is_scored_once_by_a_model_that_did_not_see_its_person(tmp_path):
    found = compared(tmp_path)
    (row,) = found["rows"]
    assert row["windows"] == found["windows"] == 7 * 24
    assert set(row["people"]) == set(map(str, range(1, 8)))
    assert row["macro_f1"] > 0.95


def test_the_leaky_split_stands_beside_it_labelled_so(tmp_path):
    honest, leaky = compared(tmp_path, leaky=True)["rows"]
    assert honest["split"] == "3 groups"
    assert leaky["split"] == LEAKY
    assert leaky["windows"] == round(0.3 * 7 * 24)


def test_what_was_learned_is_taken_from_disk_the_next_time(tmp_path):
    first, second = compared(tmp_path), compared(tmp_path)
    assert first["rows"][0]["reused"] == 0
    assert second["rows"][0]["reused"] == 3
    again = {**second["rows"][0], "reused": 0}
    assert again == first["rows"][0]


def test_a_result_is_never_taken_for_that_of_other_windows_or_of_another_seed(tmp_path):
    parts = [windows([person]) for person in (1, 2, 3)]
    trial = Trial("knn", *parts)
    learned(trial, PLAN, tmp_path)
    others = Trial("knn", windows([1], seed=5), *parts[1:])
    assert learned(trial, PLAN, tmp_path).reused
    assert not learned(others, PLAN, tmp_path).reused
    assert not learned(trial, dataclasses.replace(PLAN, seed=1), tmp_path).reused


def test_half_a_result_is_not_used(tmp_path):
    trial = Trial("knn", *(windows([person]) for person in (1, 2, 3)))
    learned(trial, PLAN, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.rename(tmp_path / f".{kept.name}.part")
    assert not learned(trial, PLAN, tmp_path).reused


def test_progress_ends_at_all(tmp_path):
    told = []
    compared(tmp_path, on_step=lambda text, share: told.append((text, share)))
    assert told[-1] == ("knn, 3 of 3", 1.0)
    shares = [share for _, share in told]
    assert shares == sorted(shares)


def test_the_official_split_tests_the_official_people(tmp_path):
    people = [1, 3, *HAPT.split.validation[:2], *HAPT.split.test]
    (row,) = compared(tmp_path, people=people, folds="official")["rows"]
    assert set(row["people"]) == set(map(str, HAPT.split.test))


def test_a_set_without_official_people_says_so(tmp_path):
    with pytest.raises(ValueError, match="no official split"):
        compared(tmp_path, people=(1, 3), folds="official")


def test_the_test_people_are_not_among_the_windows_unless_opened(
    motionsense, monkeypatch, tmp_path
):
    monkeypatch.setenv("HARD_CACHE", str(tmp_path))
    data_set = DATA_SETS["motionsense"]
    closed, opened = (
        Material.read(data_set, motionsense, data_set.labels, INPUT, opened=opened)
        for opened in (False, True)
    )
    assert set(opened.people()) == {1, 2, 3, 4, 9, 10}
    assert set(closed.people()) == {1, 2, 4, 10}
    assert len(closed.learned_from) > 3 * len(closed.tested)


def test_published_figures_stand_beside_ours():
    assert {a["value"] for a in anchors_for("motionsense", 6)} == {0.935, 0.915, 0.909, 0.905}
    assert anchors_for("uci-har", 6) == anchors_for("hapt", 6)
    assert anchors_for("motionsense", 4) == []


def test_the_table_names_learner_split_and_worst_person(tmp_path):
    found = compared(tmp_path, leaky=True)
    text = crossval_text(found)
    assert LEAKY in text
    worst = found["rows"][0]["worst_person"]
    assert f"{worst['person']}: {worst['accuracy']:.1%}" in text


def test_a_network_keeps_its_history(tmp_path):
    parts = [windows([person]) for person in (1, 2, 3)]
    plan = dataclasses.replace(PLAN, epochs=2)
    told = []
    kept = learned(Trial("tiny", *parts), plan, tmp_path, told.append)
    assert [epoch["number"] for epoch in kept.history] == [1, 2]
    assert told == [0.5, 1.0]
    again = learned(Trial("tiny", *parts), plan, tmp_path)
    assert again.reused
    assert np.array_equal(again.probs, kept.probs)
    assert again.history == kept.history
