"""Needs TensorFlow; what the edge runtime makes of a model is found out in child processes."""

import hashlib
import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

import tensorflow as tf  # noqa: E402 - after the skip
import tf_keras  # noqa: E402

from hard.card import Golden, ModelCard, Provenance  # noqa: E402
from hard.classifier import operator_codes  # noqa: E402
from hard_training.export import (  # noqa: E402
    GateFailed,
    check_accuracy,
    check_operators,
    check_parity,
    convert,
    install,
    run_on_edge,
    runtimes,
)
from hard_training.front import CHANNEL_SETS  # noqa: E402
from hard_training.models import ARCHITECTURES  # noqa: E402
from hard_training.produce import golden_window  # noqa: E402
from hard_training.recipe import Network, Recipe  # noqa: E402
from hard_training.trained import Trained  # noqa: E402

LABELS = ("walking", "sitting")
INPUT = Recipe(name="x", placement="pocket", data_sets=("motionsense",)).input


def with_random_weights(arch, channels=6, front=()):
    wanted = INPUT.model_copy(update={"channels": INPUT.channels[:channels]})
    network = Network(arch=arch, front=front)
    tf_keras.utils.set_random_seed(3)
    model = network.architecture.build(wanted, len(LABELS), None)
    rng = np.random.default_rng(3)
    weights = [
        w + np.abs(rng.normal(0, 0.05, w.shape)).astype(w.dtype) for w in model.get_weights()
    ]
    return Trained(network, wanted, len(LABELS), weights)


@pytest.fixture(scope="module")
def network():
    return with_random_weights("tiny")


@pytest.fixture(scope="module")
def looking():
    """A network with a front, and the gates of its LSTM so open that cells fill up."""
    network = with_random_weights("tiny", front=CHANNEL_SETS)
    lstm = next(layer for layer in network.model(None).layers if "lstm" in layer.name)
    shapes = [w.shape for w in lstm.get_weights()]
    at = next(
        i
        for i in range(len(network.weights))
        if [w.shape for w in network.weights[i : i + 3]] == shapes
    )
    network.weights[at + 2][:48] = 6
    network.weights[at] *= 3
    return network


@pytest.fixture(scope="module")
def tflite(looking):
    return convert(looking, "float", some_windows(1))


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


@pytest.mark.parametrize("runtime", runtimes())
def test_the_edge_reproduces_the_float_network_on_windows_in_sequence(runtime, looking, tflite):
    windows = some_windows(24) + np.float32([0, 0, 9.81, 0, 0, 0])
    windows[::4] = windows[::4, :1]  # somebody at rest
    # A cell that a steady signal fills: TensorFlow's converter would clip it, Keras does not.
    windows[1::4] = np.repeat(windows[1::4, :1], 128, axis=1)
    windows[1::4, 64:] *= -1
    edge = run_on_edge(card(), tflite, windows, runtime)
    expected = looking.model(None).predict(windows, verbose=0)
    assert np.abs(edge.raw - expected).max() < 1e-4
    assert np.ptp(expected[:, 0]) > 0.01
    assert edge.probs.sum(axis=1) == pytest.approx(1, abs=1e-3)
    assert 0 < edge.ms_per_window < 50


def test_the_runtimes_are_those_that_are_installed():
    packages = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
    assert runtimes() == [name for name, package in packages.items() if find_spec(package)]
    assert runtimes()


def test_a_child_loads_the_runtime_it_was_told_and_no_other(tflite):
    strangers = {"ai-edge-litert", "tflite-runtime"} - set(runtimes())
    for runtime in strangers:
        with pytest.raises(GateFailed):
            run_on_edge(card(), tflite, some_windows(1), runtime)
    assert not {"ai_edge_litert", "tflite_runtime"} & set(sys.modules)


@pytest.mark.parametrize("weights", ["float16", "dynamic-range", "int8"])
def test_rounded_weights_are_smaller_and_say_nearly_the_same(weights, network, tflite):
    windows = some_windows(8)
    rounded = convert(network, weights, windows)
    assert len(rounded) < len(tflite)
    edge = run_on_edge(card(), rounded, windows)
    expected = network.model(None).predict(windows, verbose=0)
    assert 0 < np.abs(edge.raw - expected).max() < 0.1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_is_small_and_gives_probabilities(name):
    model = ARCHITECTURES[name].build(INPUT, len(LABELS), None)
    probs = model(some_windows(3)).numpy()
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert model.count_params() < 100_000


def test_a_network_without_an_lstm_passes_where_none_is_wanted():
    network = with_random_weights("cnn", channels=3)
    model = convert(network, "dynamic-range", some_windows(1)[:, :, :3])
    assert 44 not in operator_codes(model)
    with pytest.raises(GateFailed, match="no fused LSTM"):
        check_operators(model, recurrent=True)


def test_a_keras_3_lstm_becomes_a_loop_and_is_refused():
    window = tf.keras.Input((8, 3), batch_size=1)
    model = tf.keras.Model(window, tf.keras.layers.LSTM(4)(window))
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    with pytest.raises(GateFailed, match="WHILE"):
        check_operators(converted, recurrent=True)


def test_a_model_without_an_lstm_is_refused():
    window = tf.keras.Input((8, 3), batch_size=1)
    model = tf.keras.Model(window, tf.keras.layers.Dense(4)(window))
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    with pytest.raises(GateFailed, match="no fused LSTM"):
        check_operators(converted, recurrent=True)


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
    for weights in ("float", "dynamic-range"):
        with pytest.raises(GateFailed):
            check_parity(keras, np.full_like(keras, np.nan), weights)


def test_conversion_must_not_change_how_often_the_model_is_right():
    label = np.zeros(1000, np.int64)
    right = np.tile(np.float32([0.6, 0.4]), (1000, 1))
    worse = right.copy()
    worse[:4] = worse[:4, ::-1]
    assert check_accuracy(right, worse, label) == {"accuracy_change": -0.004}
    worse[:6] = worse[6, ::-1]
    with pytest.raises(GateFailed, match=r"from 100\.00% to 99\.40%"):
        check_accuracy(right, worse, label)


def test_a_model_that_is_too_big_is_refused(tflite):
    with pytest.raises(GateFailed, match="more than 120000: use weights dynamic-range"):
        check_operators(tflite + b"\0" * 120_000, recurrent=True)


def test_a_trained_network_is_read_as_it_was_written(network, tmp_path):
    path = tmp_path / "a.weights.npz"
    network.save(path)
    again = Trained.load(path)
    windows = some_windows(4)
    expected = network.model(None).predict(windows, verbose=0)
    assert (again.model(None).predict(windows, verbose=0) == expected).all()
    assert json.loads(again.input.model_dump_json()) == json.loads(INPUT.model_dump_json())


def test_a_model_is_installed_with_its_hash(tflite, tmp_path):
    golden = run_on_edge(card(), tflite, golden_window(INPUT)[None]).raw[0]
    finished = card(tuple(float(p) for p in golden))
    path, installed = install(tmp_path / "models", finished, tflite)
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.tflite"]
    written = path.with_suffix(".tflite").read_bytes()
    assert installed.sha256 == hashlib.sha256(written).hexdigest()
    assert ModelCard.load(path)[0] == installed


def test_a_model_whose_golden_output_is_off_leaves_the_old_one_in_place(tflite, tmp_path):
    (tmp_path / "tiny.tflite").write_bytes(b"the old model")
    with pytest.raises(GateFailed, match="golden window"):
        install(tmp_path, card((1.0, 0.0)), tflite)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.tflite"]
    assert (tmp_path / "tiny.tflite").read_bytes() == b"the old model"


def test_a_file_that_is_no_model_is_refused():
    with pytest.raises(GateFailed, match="refuses the model"):
        run_on_edge(card(), b"\x00" * 100, some_windows(1))
