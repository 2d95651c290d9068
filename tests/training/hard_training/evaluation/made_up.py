"""Windows that differ by label and person, and a learner's folder, for tests of evaluation."""

import numpy as np

from hard_training.evaluation.crossval import Material
from hard_training.windows import LabelledWindows


def windows(people, per_label=12, labels=2, seed=0, samples=128, channels=6):
    rng = np.random.default_rng(seed)
    person = np.repeat(people, per_label * labels)
    label = np.tile(np.repeat(np.arange(labels), per_label), len(people))
    strength = (1 + 3 * label)[:, None, None]
    values = strength * rng.normal(size=(len(label), samples, channels))
    return LabelledWindows(
        values.astype(np.float32),
        label.astype(np.int64),
        person.astype(np.int64),
        np.zeros(len(label), np.int64),
    )


def material(people, **how):
    return Material(windows(people, **how), windows(people, **({"seed": 1} | how)))
