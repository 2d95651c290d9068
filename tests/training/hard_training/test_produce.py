"""The whole way on made-up recordings: archive in, checked model and card out."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

from hard.api import UnusableInput  # noqa: E402 - after the skip
from hard.card import ModelCard  # noqa: E402
from hard.novelty import novelty  # noqa: E402
from hard_training.datasets import DataMissing, data_set_named  # noqa: E402
from hard_training.export import GateFailed  # noqa: E402
from hard_training.produce import opened, produce  # noqa: E402
from hard_training.recipe import Network, Recipe, load_recipe  # noqa: E402
from hard_training.run_folder import RunFolder  # noqa: E402
from hard_training.trained import Trained  # noqa: E402
from hard_training.windows import labelled_windows  # noqa: E402


def recipe(**changed):
    plain = {
        "name": "pocket",
        "placement": "pocket",
        "data_sets": ("motionsense",),
        "network": Network(arch="tiny", epochs=2),
    }
    return Recipe(**(plain | changed))


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def produced(motionsense, tmp_path_factory):
    """A finished run, its test people opened."""
    folder = RunFolder(tmp_path_factory.mktemp("runs"), recipe())
    told = []
    card = produce(recipe(), motionsense, folder, command="hard-train run", on_epoch=told.append)
    assert [epoch.number for epoch in told] == [1, 2]
    unopened = card
    card = opened(folder.card, card, motionsense)
    return SimpleNamespace(folder=folder, card=card, unopened=unopened, told=told)


def test_the_run_has_all_that_was_made_and_nothing_else(produced):
    names = sorted(p.name for p in produced.folder.path.iterdir())
    assert names == [
        "figures.json",
        "history.json",
        "pocket.json",
        "pocket.tflite",
        "pocket.weights.npz",
        "predictions.npz",
        "recipe.toml",
    ]
    assert produced.folder.path.name == f"pocket-{recipe().digest}"
    assert load_recipe(produced.folder.path / "recipe.toml") == recipe()


def test_the_card_tells_who_was_trained_on_and_what_was_measured(produced):
    card, _ = ModelCard.load(produced.folder.card)
    assert card.identity == produced.card.identity
    subjects = card.provenance.subjects
    assert subjects == {"train": (1, 2), "validation": (4, 10), "test": (3, 9)}
    assert card.provenance.metrics["test"]["windows"] == 2 * 6 * 8
    exported = card.provenance.metrics["export"]
    assert exported["weights"] == "float"
    assert exported["bytes"] < 40_000  # what "tiny" promises
    runtimes = exported["runtimes"]
    assert runtimes
    for found in runtimes.values():
        assert found["max_probability_difference"] < 1e-4
        assert found["accuracy_change"] == 0
        assert found["ms_per_window"] > 0
    assert card.postures == ("sitting", "standing")
    assert "cite" in card.provenance.licence


def test_the_card_knows_the_windows_it_was_trained_on(produced, motionsense):
    card, _ = ModelCard.load(produced.folder.card)
    recordings = data_set_named("motionsense").recordings(motionsense)
    learned_from = [r for r in recordings if r.person in card.provenance.subjects["train"]]
    finely = card.input.model_copy(update={"stride_samples": 16})  # as they were cut
    windows = labelled_windows(learned_from, card.labels, finely).values
    seen = novelty(windows, card.usual)
    assert ((seen.distance <= 1) & (seen.turn <= 1)).mean() >= 0.97
    strange = np.random.default_rng(0).normal(0, 8, windows.shape).astype(np.float32)
    assert (novelty(strange, card.usual).distance > 1).all()


def test_a_label_that_nobody_trained_on_does_is_refused(motionsense, tmp_path):
    wanted = recipe(labels=("walking", "sitting", "cycling"))
    with pytest.raises(UnusableInput, match="too little of 'cycling'"):
        produce(wanted, motionsense, RunFolder(tmp_path, wanted), command="")


def test_test_people_are_in_no_figure_until_they_are_opened(produced):
    assert "test" not in produced.unopened.provenance.metrics
    assert "test" not in produced.unopened.provenance.subjects
    assert set(produced.unopened.provenance.metrics["validation"]["people"]) == {"4", "10"}


def test_history_and_predictions_are_kept(produced):
    history = json.loads((produced.folder.path / "history.json").read_text("utf-8"))
    assert [e["number"] for e in history] == [1, 2]
    assert history[1]["validation_share_right"] == produced.told[1].validation_share_right
    with np.load(produced.folder.path / "predictions.npz") as kept:
        right = kept["probs"].argmax(axis=1) == kept["label"]
        assert set(kept["person"]) == {4, 10}
    said = produced.folder.figures()["validation"]["accuracy"]
    assert right.mean() == pytest.approx(said, abs=1e-4)


def test_the_weights_beside_the_model_are_the_models(produced):
    trained = Trained.load(produced.folder.weights)
    assert trained.sha256 == produced.card.sha256
    window = np.asarray([produced.card.golden.window], np.float32)
    output = trained.model(None).predict(window, verbose=0)[0]
    assert output == pytest.approx(np.array(produced.card.golden.output), abs=1e-4)


def test_evaluating_the_card_finds_the_figures_written_in_it(produced, motionsense):
    command = [sys.executable, "-m", "hard_training.cli", "evaluate", str(produced.folder.card)]
    done = subprocess.run(
        [*command, "--json", "--data", str(motionsense)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"] == produced.card.identity
    written = produced.card.provenance.metrics["test"]
    assert found["windows"]["people"] == written["people"]
    assert found["windows"]["accuracy"] == written["accuracy"]


def test_an_accelerometer_alone_in_the_upright_frame_makes_a_model_too(motionsense, tmp_path):
    wanted = recipe(channels="accel", frame="upright", weights="float16")
    folder = RunFolder(tmp_path, wanted)
    card = produce(wanted, motionsense, folder, command="")
    written, _ = ModelCard.load(folder.card)
    assert written.input.frame == card.input.frame == "upright"
    assert len(written.input.channels) == 3
    assert folder.card.with_suffix(".tflite").stat().st_size < 40_000


def test_a_model_that_fails_a_gate_is_not_written(motionsense, tmp_path):
    # 1.3 MB: more than the edge is to carry.
    wanted = recipe(network=Network(arch="cnn", epochs=1, filters=(256, 256)))
    folder = RunFolder(tmp_path, wanted)
    with pytest.raises(GateFailed, match="more than 120000"):
        produce(wanted, motionsense, folder, command="")
    assert {p.name for p in folder.path.iterdir()} == {"recipe.toml", "checkpoint.npz"}
    assert folder.figures() is None


def test_no_archive_means_no_training(tmp_path):
    folder = RunFolder(tmp_path / "runs", recipe())
    with pytest.raises(DataMissing):
        produce(recipe(), tmp_path, folder, command="")
    assert folder.figures() is None
