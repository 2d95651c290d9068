"""One vocabulary for the words of every data set."""

import pytest

from hard.vocabulary import VOCABULARY
from hard_training.datasets import DATA_SETS
from hard_training.datasets.labels import (
    POSTURES,
    canonical,
    indexed,
    is_known,
)


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("WALKING_UPSTAIRS", "upstairs"),
        ("stairsdown", "downstairs"),
        ("climbingup", "upstairs"),
        ("Jogging", "running"),
        ("LAYING", "laying"),
        ("lying", "laying"),
        ("STANDING_UP", "sit_to_stand"),
        ("STAND_TO_SIT", "stand_to_sit"),
        ("bike", "cycling"),
        ("Nordic walking", "nordic_walking"),
    ],
)
def test_each_data_sets_word_is_the_label_it_means(word, label):
    assert canonical(word) == label
    assert is_known(word)


def test_no_label_is_known_as_such_and_a_strange_word_is_not():
    assert canonical("null") is None
    assert is_known("null")
    assert canonical("moonwalking") is None
    assert not is_known("moonwalking")


def test_every_label_of_every_data_set_is_in_the_vocabulary():
    for data_set in DATA_SETS.values():
        assert set(data_set.all_labels) <= set(VOCABULARY), data_set.name
        assert len(set(data_set.all_labels)) == len(data_set.all_labels), data_set.name


def test_still_takes_in_the_postures_unless_they_are_asked_for_themselves():
    assert indexed(("walking", "still")) == {"walking": 0, "still": 1} | dict.fromkeys(POSTURES, 1)
    assert indexed(("still", "laying"))["laying"] == 1
    assert indexed(("walking", "sitting")) == {"walking": 0, "sitting": 1}
