"""A hundred of the recordings of `tests/figures/random_recordings.py`; a thousand by hand."""

import pytest

from hard.classifier import TFLiteClassifier
from tests.figures.random_recordings import MODELS, check


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_bouts_close_and_ids_are_unique_and_the_same_again_and_when_cut_anywhere(first):
    classifiers = [TFLiteClassifier.load(name) for name in MODELS]
    events = [e for seed in range(first, first + 10) for e in check(seed, classifiers[seed % 3])]
    assert {event.kind for event in events} == {"enter", "exit", "status"}
