import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hard.card import ModelCard
from hard_training.cli import app
from hard_training.datasets import for_placement


def test_each_command_shows_an_example():
    for command in ("run", "evaluate", "measure-upright", "datasets"):
        shown = CliRunner().invoke(app, [command, "--help"])
        assert shown.exit_code == 0
        assert f"hard-train {command}" in shown.output


def test_datasets_lists_what_is_there_and_where_to_get_the_rest(motionsense):
    shown = CliRunner().invoke(app, ["datasets", "--data", str(motionsense)])
    assert shown.exit_code == 0
    assert "found" in shown.output
    assert "https://archive.ics.uci.edu" in shown.output


def test_the_upright_figures_are_shown_as_tables_and_as_json(motionsense):
    shown = CliRunner().invoke(app, ["measure-upright", "--data", str(motionsense)])
    assert shown.exit_code == 0
    assert "found as gait" in shown.stdout
    as_json = CliRunner().invoke(app, ["measure-upright", "--data", str(motionsense), "--json"])
    assert json.loads(as_json.stdout)["motionsense"]["people"] == 6


def test_no_data_set_means_no_upright_figures(tmp_path):
    shown = CliRunner().invoke(app, ["measure-upright", "--data", str(tmp_path)])
    assert shown.exit_code == 1
    assert "no data set there" in shown.output


def test_a_model_that_is_not_there_is_one_line_on_stderr(tmp_path):
    command = [sys.executable, "-m", "hard_training.cli", "evaluate", str(tmp_path / "no.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("hard-train: ")
    assert "no model card there" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_evaluating_never_loads_tensorflow():
    code = (
        "import sys, hard_training.cli, hard_training.evaluate, hard_training.edge_check;"
        "sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.recordings
@pytest.mark.parametrize(("name", "least"), [("pocket", 0.88), ("waist", 0.90)])
def test_the_bundled_model_is_as_good_as_its_card_says(name, least, real_people, tmp_path):
    tested_on = for_placement(name)
    data = real_people(**{tested_on.name: tested_on.split.test})
    command = [sys.executable, "-m", "hard_training.cli", "evaluate", name, "--json"]
    done = subprocess.run(
        [*command, "--data", str(data), "--log", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["windows"]
    written = ModelCard.load(name)[0].provenance.metrics["test"]
    # Runtimes differ by about 2e-5, which decides a window or two of thousands.
    assert found["mean_accuracy"] == pytest.approx(written["mean_accuracy"], abs=0.001)
    assert min(found["mean_accuracy"], found["accuracy"]) >= least
