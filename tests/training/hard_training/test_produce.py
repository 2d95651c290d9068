"""The whole way on made-up recordings: archive in, checked model and card out."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

from hard.card import ModelCard  # noqa: E402 - after the skip
from hard_training.datasets import DataMissing  # noqa: E402
from hard_training.produce import produce  # noqa: E402


@pytest.fixture(scope="module")
def produced(motionsense, tmp_path_factory):
    shares = {}
    path, _ = produce(
        "pocket",
        "conv-lstm",
        motionsense,
        tmp_path_factory.mktemp("out"),
        epochs=3,
        seed=0,
        weights="float",
        command="hard-train run --placement pocket --epochs 3",
        on_epoch=shares.__setitem__,
    )
    assert list(shares) == [1, 2, 3]
    return path


def test_model_and_card_lie_side_by_side_and_nothing_else(produced):
    names = sorted(p.name for p in produced.parent.iterdir())
    assert names == ["pocket.json", "pocket.tflite"]
    assert produced.stat().st_size < 60_000
    assert produced.with_suffix(".tflite").stat().st_size < 150_000


def test_the_card_tells_who_was_trained_on_and_what_was_measured(produced):
    card, _ = ModelCard.load(produced)
    assert card.provenance.subjects == {"train": (1, 2), "validation": (4, 10), "test": (3, 9)}
    assert card.provenance.metrics["test"]["windows"] == 2 * 6 * 8
    assert set(card.provenance.metrics["test"]["people"]) == {"3", "9"}
    assert card.provenance.metrics["export"]["max_probability_difference"] < 1e-4
    assert card.postures == ("sitting", "standing")
    assert "cite" in card.provenance.licence


def test_evaluating_the_card_finds_the_figures_written_in_it(produced, motionsense):
    command = [sys.executable, "-m", "hard_training.cli", "evaluate", str(produced), "--json"]
    done = subprocess.run(
        [*command, "--data", str(motionsense)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    card, _ = ModelCard.load(produced)
    assert found["model"] == card.identity
    written = card.provenance.metrics["test"]
    assert found["windows"]["people"] == written["people"]
    assert found["windows"]["accuracy"] == written["accuracy"]


def test_a_turned_phone_is_measured_in_ten_orientations(produced, motionsense):
    command = [sys.executable, "-m", "hard_training.cli", "evaluate", str(produced), "--json"]
    done = subprocess.run(
        [*command, "--turned", "any", "--data", str(motionsense)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["turned"] == "any"
    assert found["windows"]["windows"] == 10 * 2 * 6 * 8


def test_a_model_of_the_upright_frame_says_so_in_its_card(motionsense, tmp_path):
    path, card = produce(
        "pocket",
        "conv-lstm",
        motionsense,
        tmp_path / "out",
        frame="upright",
        epochs=1,
        seed=0,
        weights="float",
        command="hard-train run --placement pocket --frame upright --epochs 1",
        on_epoch=lambda *_: None,
    )
    written, _ = ModelCard.load(path)
    assert written.input.frame == card.input.frame == "upright"
    assert written.identity == card.identity


def test_no_archive_means_no_training(tmp_path):
    with pytest.raises(DataMissing):
        produce(
            "waist",
            "conv-lstm",
            tmp_path,
            tmp_path / "out",
            epochs=1,
            seed=0,
            weights="float",
            command="",
            on_epoch=lambda *_: None,
        )
    assert not (tmp_path / "out").exists()
