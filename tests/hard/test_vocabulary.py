"""What words mean as labels."""

import pytest

from hard.vocabulary import label_meant


@pytest.mark.parametrize(
    ("word", "label"),
    [("WALKING_DOWNSTAIRS", "downstairs"), ("jogging", "running"), ("Lying down", "laying")],
)
def test_words_of_data_sets_are_known(word, label):
    assert label_meant(word) == label


def test_a_model_may_have_a_word_of_its_own():
    assert label_meant("Jogging", ["jogging", "walking"]) == "jogging"


def test_a_word_that_nobody_knows_stays():
    assert label_meant("Juggling clubs") == "Juggling clubs"


@pytest.mark.parametrize("word", ["", "null", "None", "other"])
def test_some_words_say_that_there_is_no_label(word):
    assert label_meant(word) is None
