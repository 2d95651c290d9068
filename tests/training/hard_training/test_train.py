from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

from hard.api import UnusableInput  # noqa: E402 - after the skip
from hard_training.augmentation import Augmentation  # noqa: E402 - after the skip
from hard_training.models import ARCHITECTURES  # noqa: E402
from hard_training.produce import transitions  # noqa: E402
from hard_training.recipe import Recipe  # noqa: E402
from hard_training.train import calibrated, draw, fit, fit_temperature  # noqa: E402
from hard_training.windows import LabelledWindows  # noqa: E402

INPUT = Recipe(name="x", placement="pocket", data_sets=("motionsense",)).input


def made_up_windows(n, seed=0):
    """Two classes that differ in which way is up, of two people."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    values = rng.normal(0, 1, (n, 128, 6)).astype(np.float32)
    values[np.arange(n), :, label] += 9.8
    return LabelledWindows(values, label, np.arange(n) // 2 % 2, np.zeros(n, np.int64))


def fitted(epochs, seed=0, on_epoch=None, checkpoint=None, arch="conv-lstm", **turned):
    train, validation = made_up_windows(128), made_up_windows(32, seed=1)
    return fit(
        ARCHITECTURES[arch],
        INPUT,
        ("up", "over"),
        train,
        validation,
        augmentation=Augmentation(turn_deg=(5, 5, 5), **turned),
        epochs=epochs,
        seed=seed,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )


def same_weights(one, other):
    both = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return all((a == b).all() for a, b in both)


def test_the_epoch_that_does_best_is_kept_and_a_seed_makes_it_the_same_again():
    told = []
    result = fitted(3, on_epoch=told.append)
    shares = [epoch.validation_share_right for epoch in told]
    assert result.history == tuple(told)
    assert shares[result.best_epoch - 1] == max(shares)
    assert same_weights(result, fitted(3))
    assert not same_weights(result, fitted(3, seed=1))
    probs = result.model.predict(made_up_windows(32, seed=1).values, verbose=0)
    assert (probs.argmax(axis=1) == np.arange(32) % 2).mean() == pytest.approx(max(shares))


def test_a_training_that_was_cut_off_goes_on_to_the_same_weights_bit_for_bit(tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"

    def cut_off(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(4, on_epoch=cut_off, checkpoint=checkpoint)
    told = []
    resumed = fitted(4, on_epoch=told.append, checkpoint=checkpoint)
    whole = fitted(4)
    assert [epoch.number for epoch in told] == [1, 2, 3, 4]
    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert same_weights(resumed, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_used(tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"
    fitted(1, seed=1, checkpoint=checkpoint, arch="cnn")
    after_another = fitted(1, checkpoint=checkpoint, arch="cnn")
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    after_damage = fitted(1, checkpoint=checkpoint, arch="cnn")
    assert same_weights(after_another, after_damage)


def test_training_ends_where_patience_does():
    patient = replace(ARCHITECTURES["tiny"], patience=2, learning_rate=1e-9)
    train, validation = made_up_windows(64), made_up_windows(32, seed=1)
    result = fit(
        patient,
        INPUT,
        ("up", "over"),
        train,
        validation,
        augmentation=Augmentation(),
        epochs=9,
        seed=0,
    )
    assert len(result.history) == result.best_epoch + 2 < 9


def test_an_epoch_takes_other_windows_each_time_and_none_twice():
    rng = np.random.default_rng(0)
    label = np.arange(100) % 2
    once, again = (draw(label, 60, rng, balanced=0, often={}) for _ in range(2))
    assert len(once) == len(set(once.tolist())) == 60
    assert (once != again).any()


def test_balanced_draws_take_as_many_windows_of_a_rare_label_as_of_the_others():
    label = np.repeat([0, 2, 3], [80, 15, 5])
    drawn = draw(label, 60, np.random.default_rng(0), balanced=1, often={})
    assert np.unique(label[drawn], return_counts=True)[1].tolist() == [20, 20, 20]
    assert len(set(drawn[label[drawn] == 0].tolist())) == 20


def test_half_balanced_draws_go_by_the_root_of_how_many_there_are():
    label = np.repeat([0, 1], [400, 25])
    drawn = draw(label, 100, np.random.default_rng(0), balanced=0.5, often={})
    assert np.unique(label[drawn], return_counts=True)[1].tolist() == [80, 20]


def test_a_label_that_is_seen_often_is_drawn_so_many_times_as_often():
    label = np.repeat([0, 1, 2], 200)
    drawn = draw(label, 240, np.random.default_rng(0), balanced=1, often={1: 6.0})
    assert np.unique(label[drawn], return_counts=True)[1].tolist() == [30, 180, 30]


def test_a_label_that_nobody_has_cannot_be_seen_often():
    architecture = replace(ARCHITECTURES["tiny"], often={"walking": 6.0})
    windows = made_up_windows(8)
    with pytest.raises(UnusableInput, match="no label walking; there are up, over"):
        fit(
            architecture,
            INPUT,
            ("up", "over"),
            windows,
            windows,
            augmentation=Augmentation(),
            epochs=1,
            seed=0,
        )


def test_where_the_heading_is_open_the_best_epoch_is_that_for_any():
    # Up along x or along y: a heading turns one into the other, so they can't be told apart.
    told, untold = fitted(3).history, fitted(3, any_heading=True).history
    best, worst = (max(e.validation_share_right for e in epochs) for epochs in (told, untold))
    assert worst < 0.8 < best


def test_calibration_by_one_changes_nothing_and_by_two_takes_the_root():
    probs = np.array([[0.8, 0.2]], np.float32)
    assert calibrated(probs, 1) == pytest.approx(probs)
    assert calibrated(probs, 2) == pytest.approx(np.array([[2 / 3, 1 / 3]]))


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
