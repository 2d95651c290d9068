import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard_training.evaluation.folds import balanced_groups, folds_by_person

people = st.dictionaries(st.integers(1, 99), st.integers(0, 500), min_size=4, max_size=30)


@given(people, st.integers(2, 8))
def test_groups_hold_everybody_once_and_differ_by_at_most_one_persons_windows(windows, k):
    groups = balanced_groups(windows, k)
    assert sorted(p for group in groups for p in group) == sorted(windows)
    loads = [sum(windows[p] for p in group) for group in groups]
    assert max(loads) - min(loads) <= max(windows.values())


@given(people, st.integers(2, 8), st.booleans())
def test_nobody_is_in_two_parts_of_a_fold_and_each_is_tested_once(windows, k, one_at_a_time):
    k = None if one_at_a_time else min(k, len(windows))
    try:
        folds = folds_by_person(windows, k)
    except ValueError:  # half of a handful of people: nobody left to learn from and choose by
        assert k == 2
        return
    for fold in folds:
        assert fold.train
        assert fold.validation
        assert fold.test
        assert sorted(fold.train + fold.validation + fold.test) == sorted(windows)
    assert sorted(p for fold in folds for p in fold.test) == sorted(windows)


def test_the_same_people_are_dealt_the_same_way():
    windows = {person: 100 + 7 * person % 13 for person in range(1, 22)}
    backwards = dict(reversed(windows.items()))
    assert folds_by_person(windows, 5) == folds_by_person(backwards, 5)


def test_the_people_who_choose_change_from_fold_to_fold():
    folds = folds_by_person(dict.fromkeys(range(1, 22), 100), 5)
    assert len({fold.validation for fold in folds}) == 5


@pytest.mark.parametrize(("count", "k"), [(5, 1), (5, 6), (3, 2), (2, None)])
def test_folds_that_cannot_be_made_are_refused(count, k):
    with pytest.raises(ValueError, match="can't be made"):
        folds_by_person(dict.fromkeys(range(count), 10), k)
