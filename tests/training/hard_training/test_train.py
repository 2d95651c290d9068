import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

from hard_training.augmentation import Augmentation  # noqa: E402 - after the skip
from hard_training.models import ARCHITECTURES  # noqa: E402
from hard_training.produce import INPUT, transitions  # noqa: E402
from hard_training.train import fit, fit_temperature  # noqa: E402
from hard_training.windows import LabelledWindows  # noqa: E402


def made_up_windows(n, seed=0):
    """Two classes that differ in which way is up, of two people."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    values = rng.normal(0, 1, (n, 128, 6)).astype(np.float32)
    values[np.arange(n), :, label] += 9.8
    return LabelledWindows(values, label, np.arange(n) // 2 % 2, np.zeros(n, np.int64))


def fitted(epochs, seed, on_epoch=lambda *_: None, **turned):
    train, validation = made_up_windows(128), made_up_windows(32, seed=1)
    return fit(
        ARCHITECTURES["conv-lstm"],
        INPUT,
        2,
        train,
        validation,
        augmentation=Augmentation(turn_deg=(5, 5, 5), **turned),
        epochs=epochs,
        seed=seed,
        on_epoch=on_epoch,
    )


def test_the_epoch_that_does_best_is_kept_and_a_seed_makes_it_the_same_again():
    shares = []
    result = fitted(3, 0, lambda _, share_right: shares.append(share_right))
    assert len(shares) == 3
    assert shares[result.best_epoch - 1] == max(shares)
    again = fitted(3, 0)
    both = zip(result.model.get_weights(), again.model.get_weights(), strict=True)
    assert all((a == b).all() for a, b in both)
    probs = result.model.predict(made_up_windows(32, seed=1).values, verbose=0)
    assert (probs.argmax(axis=1) == np.arange(32) % 2).mean() == pytest.approx(max(shares))


def test_where_the_heading_is_open_the_best_epoch_is_that_for_any():
    # Up along x or along y: a heading turns one into the other, so they can't be told apart.
    told, untold = [], []
    fitted(3, 0, lambda _, share_right: told.append(share_right))
    fitted(3, 0, lambda _, share_right: untold.append(share_right), any_heading=True)
    assert max(untold) < 0.8 < max(told)


def test_the_temperature_that_made_probabilities_too_sure_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (5000, 4))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(4, p=p) for p in probs])
    sharpened = probs**2 / (probs**2).sum(axis=1, keepdims=True)
    assert fit_temperature(sharpened, label) == pytest.approx(2, rel=0.1)


def test_transitions_are_counted_within_recordings_and_have_a_floor():
    label = np.array([0, 0, 0, 1, 1, 0])
    recording = np.array([0, 0, 0, 0, 1, 1])
    windows = LabelledWindows(np.zeros((6, 128, 6), np.float32), label, label, recording)
    stay, change, never = transitions(windows, 3)[0]
    assert stay == pytest.approx(2 / 3 - 0.005, abs=1e-4)
    assert change == pytest.approx(1 / 3, abs=1e-4)
    assert never == 0.005
    for row in transitions(windows, 3):
        assert sum(row) == pytest.approx(1, abs=1e-4)
