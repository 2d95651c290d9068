"""The bundled models, trained on real people, meet the simulator's wearers, whom they never saw."""

from collections import Counter

import numpy as np
import pytest

from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.plugins import create
from hard.replay import replay

WEARERS = 12
AT_LEAST = 0.8


def recognised(model, activity):
    """Return the share of windows of an activity, over several wearers, that are told right."""
    classifier = TFLiteClassifier.load(model)
    said = Counter()

    def watch(batch):
        best = batch.probs.argmax(axis=1)
        said.update(np.array(classifier.card.labels)[best].tolist())

    placement = classifier.card.placement
    table = {"plugin": "simulator", "placement": placement, "streams": WEARERS, "realtime": False}
    source = create("sources", "sim", {**table, "script": [f"{activity}:60"], "seed": 11}, "test")
    replay([source], lambda _: (classifier, DecisionSettings()), watch=watch)
    return said[activity] / said.total()


@pytest.mark.parametrize(
    ("model", "activity"),
    [
        ("pocket", "walking"),
        ("pocket", "running"),
        ("pocket", "sitting"),
        ("pocket", "standing"),
        ("pocket-accel", "walking"),
        ("pocket-accel", "running"),
        ("waist", "walking"),
        ("waist", "sitting"),
        ("waist", "standing"),
        ("waist-accel", "walking"),
        ("waist-accel", "sitting"),
        ("waist-accel", "standing"),
    ],
)
def test_a_model_recognises_simulated_wearers(model, activity):
    assert recognised(model, activity) >= AT_LEAST
