import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytestmark = pytest.mark.training

from hard.card import ModelInput  # noqa: E402 - after the skip
from hard_training.augmentation import Augmentation  # noqa: E402
from hard_training.learners import LEARNERS  # noqa: E402
from hard_training.windows import LabelledWindows  # noqa: E402

NAMES = {"conv-lstm", "tiny", "cnn", "tutorial", "random-forest", "knn"}
AXES = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")


def made_up_windows(n, channels=6, seed=0):
    """Two of three classes, which differ in which way is up, of two people."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2 * 2
    values = rng.normal(0, 1, (n, 128, channels)).astype(np.float32)
    values[np.arange(n), :, label] += 9.8
    return LabelledWindows(values, label, np.arange(n) // 2 % 2, np.zeros(n, np.int64))


def wanted(channels=6):
    return ModelInput(
        channels=AXES[:channels], sampling_rate_hz=50, window_samples=128, stride_samples=64
    )


def learned(name, channels=6, **settings):
    return LEARNERS[name].fit(
        made_up_windows(240, channels),
        made_up_windows(40, channels, seed=1),
        wanted(channels),
        ("first", "none", "last"),
        augmentation=Augmentation(accel_bias_m_s2=0.1),
        seed=0,
        epochs=4,
        **settings,
    )


def test_every_learner_has_its_name_and_says_what_it_is():
    assert set(LEARNERS) == NAMES
    assert all(learner.name == name for name, learner in LEARNERS.items())
    assert len({learner.description for learner in LEARNERS.values()}) == len(LEARNERS)


def test_the_table_is_read_without_tensorflow_and_scikit_learn():
    code = (
        "import sys, hard_training.learners;"
        "sys.exit(bool({'tensorflow', 'tf_keras', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("name", sorted(NAMES - {"tutorial"}))
def test_a_learner_tells_windows_of_others_apart_and_gives_probabilities(name, channels):
    if name not in {"random-forest", "knn"}:
        pytest.importorskip("tensorflow")
    found = learned(name, channels)
    unseen = made_up_windows(30, channels, seed=2)
    probs = found.predict(unseen.values)
    assert probs.shape == (30, 3)
    assert probs.dtype == np.float64
    assert probs.sum(axis=1) == pytest.approx(1)
    assert (probs.argmax(axis=1) == unseen.label).mean() > 0.9
    assert found.parameters > 100


def test_a_baseline_is_the_same_again_by_its_seed():
    once, again = learned("random-forest"), learned("random-forest")
    windows = made_up_windows(30, seed=2).values
    assert (once.predict(windows) == again.predict(windows)).all()
    assert once.history == ()


def test_a_network_tells_its_history_as_it_goes():
    pytest.importorskip("tensorflow")
    told = []
    found = learned("tiny", on_epoch=told.append)
    assert tuple(told) == found.history
    assert [epoch.number for epoch in told] == [1, 2, 3, 4]
    best = max(told, key=lambda epoch: epoch.validation_share_right)
    assert found.best_epoch == best.number
    assert told[-1].training_loss < told[0].training_loss
