import pytest

from hard_training.augmentation import Augmentation
from hard_training.datasets import DATA_SETS
from hard_training.evaluation.tables import transfer_text
from hard_training.evaluation.transfer import classes_for, merged, transfer
from hard_training.evaluation.trials import Plan
from hard_training.recipe import Recipe
from tests.training.hard_training.evaluation.made_up import material, windows

INPUT = Recipe(name="any", placement="any", data_sets=("any",)).input
POCKET, WAIST = DATA_SETS["motionsense"], DATA_SETS["hapt"]


def test_postures_are_one_class():
    assert merged(("walking", "sitting", "standing", "running")) == ("walking", "still", "running")


def test_what_both_sets_have_is_told_apart_or_all_of_the_first():
    assert set(classes_for([POCKET], WAIST, "shared")) == {
        "walking",
        "upstairs",
        "downstairs",
        "still",
    }
    assert set(classes_for([POCKET], WAIST, "train")) == {
        "walking",
        "upstairs",
        "downstairs",
        "still",
        "running",
    }


@pytest.mark.training
def test_a_learner_is_tested_on_people_of_the_other_set_alone(tmp_path):
    people = [1, 2, *POCKET.split.validation[:2], *POCKET.split.test[:1]]
    plan = Plan(("resting", "moving"), INPUT, Augmentation())
    told = []
    found = transfer(
        [(POCKET, material(people))],
        (WAIST, windows([50, 51], seed=9)),
        ["knn"],
        plan,
        store=tmp_path,
        on_step=lambda text, share: told.append(share),
    )
    (row,) = found["rows"]
    assert set(row["people"]) == {"50", "51"}
    assert row["macro_f1"] > 0.95
    assert told[-1] == 1
    assert "motionsense (pocket) -> hapt (waist)" in transfer_text(found)


@pytest.mark.training
def test_two_sets_are_learned_from_together_though_their_people_have_the_same_numbers(tmp_path):
    people = [1, 3, 5, *POCKET.split.validation[:1], *WAIST.split.validation[:1]]
    found = transfer(
        [(POCKET, material(people)), (WAIST, material(people, seed=3))],
        (DATA_SETS["sp-sw-har"], windows([50], seed=9)),
        ["knn"],
        Plan(("resting", "moving"), INPUT, Augmentation()),
        store=tmp_path,
        on_step=lambda *_: None,
    )
    assert found["rows"][0]["macro_f1"] > 0.95
    assert "motionsense, hapt (pocket, waist) -> sp-sw-har (pocket)" in transfer_text(found)


def test_a_set_without_people_to_choose_by_is_refused(tmp_path):
    plan = Plan(("resting", "moving"), INPUT, Augmentation())
    with pytest.raises(ValueError, match="validation people"):
        transfer(
            [(POCKET, material([1, 2]))],
            (WAIST, windows([50])),
            ["knn"],
            plan,
            store=tmp_path,
            on_step=lambda *_: None,
        )
