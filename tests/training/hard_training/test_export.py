"""Needs TensorFlow; what the edge runtime makes of a model is found out in child processes."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

import tensorflow as tf  # noqa: E402 - after the skip

from hard.card import Golden, ModelCard, Provenance  # noqa: E402
from hard_training.export import (  # noqa: E402
    GateFailed,
    check_operators,
    check_parity,
    convert,
    install,
    run_on_edge,
)
from hard_training.models import ARCHITECTURES  # noqa: E402
from hard_training.produce import INPUT, golden_window  # noqa: E402

LABELS = ("walking", "sitting")


@pytest.fixture(scope="module")
def untrained():
    """The small network with random weights: its build function, itself, its float .tflite."""
    recipe = ARCHITECTURES["conv-lstm"]

    def build(batch_size):
        return recipe.build(INPUT, len(LABELS), batch_size)

    model = build(None)
    return SimpleNamespace(build=build, model=model, tflite=convert(build, model, "float"))


def card(output=(0.0, 0.0)):
    rows = tuple(tuple(float(v) for v in row) for row in golden_window(INPUT).round(3))
    return ModelCard(
        name="tiny",
        description="",
        placement="pocket",
        labels=LABELS,
        input=INPUT,
        architecture="conv-lstm",
        parameters=1,
        sha256="0" * 64,
        golden=Golden(window=rows, output=output),
        provenance=Provenance(
            data_sets=(),
            licence="",
            subjects={},
            split="",
            metrics={},
            command="",
            created="",
            versions={},
        ),
    )


def some_windows(n):
    rng = np.random.default_rng(1)
    return rng.normal(0, 5, (n, 128, 6)).astype(np.float32)


def test_the_edge_reproduces_the_float_network_on_windows_in_sequence(untrained):
    windows = some_windows(20)
    edge = run_on_edge(card(), untrained.tflite, windows)
    expected = untrained.model.predict(windows, verbose=0)
    assert np.abs(edge.raw - expected).max() < 1e-4
    assert edge.probs.sum(axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_is_small_and_gives_probabilities(name):
    model = ARCHITECTURES[name].build(INPUT, len(LABELS), None)
    probs = model(some_windows(3)).numpy()
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert model.count_params() < 100_000


def test_a_keras_3_lstm_becomes_a_loop_and_is_refused():
    window = tf.keras.Input((8, 3), batch_size=1)
    model = tf.keras.Model(window, tf.keras.layers.LSTM(4)(window))
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    with pytest.raises(GateFailed, match="WHILE"):
        check_operators(converted)


def test_a_model_without_an_lstm_is_refused():
    window = tf.keras.Input((8, 3), batch_size=1)
    model = tf.keras.Model(window, tf.keras.layers.Dense(4)(window))
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    with pytest.raises(GateFailed, match="no fused operator"):
        check_operators(converted)


def test_float_weights_must_reproduce_probabilities_and_rounded_ones_labels():
    keras = np.array([[0.6, 0.4]] * 200, np.float32)
    near = keras + np.float32([1e-3, -1e-3])
    assert check_parity(keras, near, "dynamic-range")["label_agreement"] == 1
    with pytest.raises(GateFailed, match="off the trained one"):
        check_parity(keras, near, "float")
    flipped = keras.copy()
    flipped[:2] = flipped[:2, ::-1]
    with pytest.raises(GateFailed, match=r"1\.00% of the labels"):
        check_parity(keras, flipped, "dynamic-range")


def test_nan_never_passes_for_parity():
    keras = np.full((4, 2), 0.5, np.float32)
    with pytest.raises(GateFailed):
        check_parity(keras, np.full_like(keras, np.nan), "float")


def test_a_model_is_installed_with_its_hash(untrained, tmp_path):
    golden = run_on_edge(card(), untrained.tflite, golden_window(INPUT)[None]).raw[0]
    finished = card(tuple(float(p) for p in golden))
    path, installed = install(tmp_path / "models", finished, untrained.tflite)
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.tflite"]
    written = path.with_suffix(".tflite").read_bytes()
    assert installed.sha256 == hashlib.sha256(written).hexdigest()
    assert ModelCard.load(path)[0] == installed


def test_a_model_whose_golden_output_is_off_leaves_the_old_one_in_place(untrained, tmp_path):
    (tmp_path / "tiny.tflite").write_bytes(b"the old model")
    with pytest.raises(GateFailed, match="golden window"):
        install(tmp_path, card((1.0, 0.0)), untrained.tflite)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.tflite"]
    assert (tmp_path / "tiny.tflite").read_bytes() == b"the old model"


def test_a_file_that_is_no_model_is_refused():
    with pytest.raises(GateFailed, match="refuses the model"):
        run_on_edge(card(), b"\x00" * 100, some_windows(1))
