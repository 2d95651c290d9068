import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hard_training.cli import app


def invoked(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def started(*arguments):
    """Run in a process of its own: the edge's runtime can't be loaded after TensorFlow."""
    command = [sys.executable, "-m", "hard_training.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["crossval", "transfer", "stress", "streaming", "report"])
def test_each_command_shows_an_example(command):
    shown = invoked(command, "--help")
    assert shown.exit_code == 0
    assert f"hard-train {command}" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data-set", "nothing"), "no data set 'nothing'"),
        (("--data-set", "hapt", "--learners", "oracle"), "no learner oracle"),
        (("--data-set", "hapt", "--folds", "1"), "--folds '1'"),
        (("--data-set", "hapt", "--labels", "7"), "has 6 or 12"),
        (("--data-set", "hapt", "--recipe", "none.toml"), "none.toml: can't be read"),
        (("--data-set", "hapt", "--learners", "recipe"), "no learner recipe"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(arguments, said, tmp_path):
    shown = invoked("crossval", *arguments, "--data", tmp_path, "--out", tmp_path)
    assert shown.exit_code == 1
    assert said in shown.stderr
    assert shown.stdout == ""


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "kept"


@pytest.mark.training
def test_learners_are_compared_without_the_test_people(motionsense, kept):
    shown = invoked(
        *("crossval", "--data-set", "motionsense", "--learners", "knn", "--folds", "2"),
        *("--leaky", "--data", motionsense, "--out", kept, "--json"),
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert set(found["rows"][0]["people"]) == {"1", "2", "4", "10"}
    assert found["versions"]["numpy"]
    assert not (kept / "test-openings.jsonl").exists()


RECIPE = """
name = "mine"
placement = "pocket"
data_sets = ["motionsense"]
channels = "accel"
frame = "upright"
seed = 4

[network]
arch = "cnn"
filters = [4]
epochs = 1
front = ["shape", "tilt"]

[augmentation]
gain = 0.1
"""


@pytest.mark.training
def test_a_recipes_network_is_compared_as_the_recipe_says(motionsense, kept, tmp_path):
    pytest.importorskip("tensorflow")
    (tmp_path / "mine.toml").write_text(RECIPE, "utf-8")
    shown = invoked(
        *("crossval", "--data-set", "motionsense", "--recipe", tmp_path / "mine.toml"),
        *("--learners", "knn", "--folds", "2", "--data", motionsense, "--out", kept, "--json"),
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert [row["learner"] for row in found["rows"]] == ["recipe", "knn"]
    assert (found["channels"], found["frame"], found["seed"]) == (3, "upright", 4)
    assert found["rows"][0]["best_epochs"] == [1, 1]
    # shape 3, tilt 1: (mean, variance, count) - convolution - batch normalisation - dense.
    assert found["rows"][0]["parameters"] == 4 + 4 + 1 + 5 * 4 * 4 + 4 * 4 + 8 * 6 + 6


@pytest.mark.training
def test_testing_on_the_official_people_is_logged_and_said(motionsense, kept):
    command = (
        *("crossval", "--data-set", "motionsense", "--learners", "knn", "--folds", "official"),
        *("--data", motionsense, "--out", kept),
    )
    assert "opened 1 time so far" in invoked(*command).stderr
    shown = invoked(*command)
    assert "opened 2 times so far" in shown.stderr
    (first, second) = map(json.loads, (kept / "test-openings.jsonl").read_text().splitlines())
    assert first["figures"]["knn"] == second["figures"]["knn"]
    assert first["what"] == second["what"]


@pytest.mark.training
def test_the_whole_way_to_another_set_ends_in_a_table(motionsense, kept):
    shown = invoked(
        *("transfer", "--train", "motionsense", "--test", "motionsense", "--learners", "knn"),
        *("--frame", "device", "--data", motionsense, "--out", kept),
    )
    assert shown.exit_code == 0, shown.output
    assert "recall of still" in shown.stdout


def test_streaming_prints_both_decisions(motionsense):
    shown = started("streaming", "pocket", "--data", motionsense)
    assert shown.returncode == 0, shown.stderr
    assert "argmax" in shown.stdout
    assert "as shipped" in shown.stdout
    assert "validation people" in shown.stdout


def test_evaluating_is_logged_where_it_is_told_to(motionsense, tmp_path):
    shown = started("evaluate", "pocket", "--data", motionsense, "--log", tmp_path, "--json")
    assert shown.returncode == 0, shown.stderr
    (line,) = map(json.loads, (tmp_path / "test-openings.jsonl").read_text().splitlines())
    assert line["what"] == json.loads(shown.stdout)["model"]
    assert line["data_set"] == "motionsense"


def test_measuring_a_model_never_loads_tensorflow():
    code = (
        "import sys, hard_training.evaluation.stress, hard_training.evaluation.streaming,"
        "hard_training.evaluation.report, hard_training.evaluation.commands;"
        "sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
