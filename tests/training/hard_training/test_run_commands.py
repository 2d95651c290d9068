"""`hard-train run`, `compare` and `personalize` as users call them, on made-up recordings."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.training

from typer.testing import CliRunner  # noqa: E402 - after the skip

from hard.card import ModelCard  # noqa: E402
from hard_training.cli import app  # noqa: E402
from hard_training.recipe import bundled_recipes  # noqa: E402

HARD_TRAIN = [sys.executable, "-m", "hard_training.cli"]
HARD = Path(sys.executable).with_name("hard")
TIMEOUT_S = 900.0  # the machine may be busy
RECIPE = """
name = "mine"
placement = "pocket"
data_sets = ["motionsense"]

[network]
arch = "cnn"  # no LSTM, which takes long to convert
filters = [16, 24]
epochs = 12
learning_rate = 0.003
batch_windows = 16
"""
# Label -> (which way is up, Hz, strength in g), as the made-up people of the archive move.
MOTIONS = {
    "walking": ((0, 1, 0), 1.9, 0.3),
    "sitting": ((0, 0, 1), 0.0, 0.0),
    "running": ((0, 1, 0), 2.8, 1.2),
    "standing": ((0, 1, 0), 0.0, 0.0),
}


@pytest.fixture(scope="module")
def desk(motionsense, tmp_path_factory):
    """Where a researcher works: a recipe, and an environment that finds the data."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "mine.toml").write_text(RECIPE, "utf-8")
    environment = os.environ | {
        "HARD_DATA": str(motionsense),
        "HARD_CACHE": str(tmp_path_factory.mktemp("cache")),
    }

    def call(*arguments, code=0):
        done = subprocess.run(
            list(map(str, arguments)),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == code, done.stderr
        return done

    call.folder, call.environment = folder, environment
    return call


def invoked(*arguments):
    """Run in this process, which has TensorFlow: importing it takes a process seconds."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def run_of(runs):
    (found,) = runs.iterdir()
    return found


@pytest.fixture(scope="module")
def finished(desk):
    """A run that was killed in mid-training and went on when the command was given again."""
    command = [*HARD_TRAIN, "run", "--config", "mine.toml", "--no-report"]
    runs = desk.folder / "runs"
    deadline_s, pause = time.monotonic() + TIMEOUT_S, threading.Event()
    with subprocess.Popen(command, cwd=desk.folder, env=desk.environment) as training:
        while not list(runs.glob("*/checkpoint.npz")):
            assert time.monotonic() < deadline_s
            assert training.poll() is None
            pause.wait(0.02)
        training.kill()
    assert not list(runs.glob("*/*.tflite"))
    assert not list(runs.glob("*/figures.json"))
    desk(*HARD_TRAIN, "run", "--config", "mine.toml", "--out", "models")
    return run_of(runs)


def test_a_run_ends_in_a_model_a_copy_of_it_and_a_report(desk, finished):
    assert "Events on whole recordings" in (finished / "report.html").read_text("utf-8")
    models = desk.folder / "models"
    names = {"mine.tflite", "mine.json", "mine.weights.npz"}
    assert {path.name for path in models.iterdir()} == names
    assert (models / "mine.tflite").read_bytes() == (finished / "mine.tflite").read_bytes()


def test_a_finished_run_is_not_trained_again(desk, finished):
    before = (finished / "mine.json").stat().st_mtime_ns
    done = desk(*HARD_TRAIN, "run", "--config", "mine.toml", "--no-report")
    assert "finished before; --fresh trains it anew" in done.stderr
    assert "validation: " in done.stdout
    assert (finished / "mine.json").stat().st_mtime_ns == before


def test_the_model_recognises_a_recording_in_the_daemons_replay(desk, finished):
    write_recording(desk.folder / "run.csv", ["running"], np.eye(3))
    done = desk(HARD, "replay", "--json", "--model", finished / "mine.json", "run.csv")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "running" in {event["activity"] for event in events if event["event_type"] == "enter"}


def test_opening_the_test_people_is_logged_beside_the_model(desk, finished):
    done = desk(*HARD_TRAIN, "run", "--config", "mine.toml", "--no-report", "--open-test")
    assert "were opened 1 time so far" in done.stderr
    assert "test: " in done.stdout
    (look,) = (finished / "test-openings.jsonl").read_text("utf-8").splitlines()
    card, _ = ModelCard.load(finished / "mine.json")
    assert json.loads(look)["what"] == card.identity
    assert json.loads((finished / "figures.json").read_text("utf-8"))["test"]["windows"] == 96


@pytest.fixture(scope="module")
def sweep(desk):
    """What a sweep shows: the recipe with two seeds, never interrupted."""
    text = RECIPE + "\n[sweep]\nseed = [0, 1]\n"
    (desk.folder / "sweep.toml").write_text(text, "utf-8")
    return desk(*HARD_TRAIN, "run", "--config", "sweep.toml", "--runs", "sweep").stdout


@pytest.mark.usefixtures("sweep")
def test_a_run_killed_in_mid_training_ends_in_the_model_of_one_that_was_not(desk, finished):
    whole = desk.folder / "sweep" / finished.name  # named by the recipe: that of the first seed
    for name in ("mine.tflite", "history.json"):
        assert (whole / name).read_bytes() == (finished / name).read_bytes()


def test_a_sweep_is_a_table_with_the_best_on_the_validation_people_first(desk, sweep):
    rows = {}
    for folder in (desk.folder / "sweep").iterdir():
        figures = json.loads((folder / "figures.json").read_text("utf-8"))
        assert "test" not in figures
        rows[folder.name] = figures["validation"]["mean_accuracy"]
    shown = [line for line in sweep.splitlines() if "mine-" in line]
    assert len(shown) == len(rows) == 2
    best = max(rows, key=rows.get)
    assert best in shown[0] or len(set(rows.values())) == 1
    desk(*HARD_TRAIN, "run", "--config", "sweep.toml", "--open-test", code=2)


def test_cards_stand_side_by_side(desk, finished):
    done = desk(*HARD_TRAIN, "compare", finished / "mine.json", "pocket", "--json")
    mine, pocket = json.loads(done.stdout)
    assert mine["model"].startswith("mine@")
    assert (mine["channels"], mine["frame"]) == (6, "device")
    assert mine["bytes"] == (finished / "mine.tflite").stat().st_size
    assert 0 < mine["ms_per_window"] < 50
    written = ModelCard.load("pocket")[0].provenance.metrics["test"]
    assert pocket["test"]["mean_accuracy"] == written["mean_accuracy"]
    assert pocket["test"]["people"] == len(written["people"])
    table = desk(*HARD_TRAIN, "compare", finished / "mine.json", "pocket").stdout
    assert mine["model"] in table
    assert pocket["model"] in table


def write_recording(path, labels, turn, *, gain=1.0, seconds=60, seed=5):
    """Write a plain CSV of one wearer, whose phone is turned by the matrix."""
    rng = np.random.default_rng(seed)
    period_ns = 20_000_000
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        axes = [f"{sensor}_{axis}" for sensor in ("accel", "gyro") for axis in "xyz"]
        rows.writerow(["t_ns", *axes, "label"])
        n = seconds * 50
        for number, label in enumerate(labels):
            up, hz, strength = MOTIONS[label]
            t = (np.arange(n) + number * n) * period_ns
            wave = strength * np.sin(2 * np.pi * hz * t / 1e9)[:, None]
            user = wave * (0.3, 1.0, 0.5) + rng.normal(0, 0.01, (n, 3))
            accel = gain * 9.80665 * (np.array(up) - user) @ np.array(turn).T
            gyro = (2 * wave * (1.0, 0.2, 0.1) + rng.normal(0, 0.01, (n, 3))) @ np.array(turn).T
            for at, a, g in zip(t.tolist(), accel, gyro, strict=True):
                rows.writerow([at, *(f"{v:.4f}" for v in (*a, *g)), label])


# The phone lies across the pocket: what was up along y is along x.
ACROSS = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]


def test_a_wearer_whose_phone_lies_across_gets_a_model_that_is_better_on_held_out_minutes(
    desk, finished
):
    write_recording(desk.folder / "own.csv", MOTIONS, ACROSS, gain=1.03)
    card = finished / "mine.json"
    done = desk(*HARD_TRAIN, "personalize", card, "own.csv", "--out", "own", "--json")
    outcome = json.loads(done.stdout)
    before, after = outcome["balanced"]
    assert before < 0.8
    assert after > 0.95
    assert outcome["adapted_minutes"] > 1
    assert outcome["held_out_minutes"] > 1
    new, _ = ModelCard.load(desk.folder / outcome["card"])
    old, _ = ModelCard.load(card)
    assert new.name == "mine-personal"
    assert old.identity in new.description
    assert new.labels == old.labels
    assert new.provenance.metrics["personal"]["after"]["accuracy"] > 0.95
    write_recording(desk.folder / "next.csv", ["walking"], ACROSS, gain=1.03, seed=6)
    again = desk(HARD, "replay", "--json", "--model", desk.folder / outcome["card"], "next.csv")
    entered = [json.loads(line) for line in again.stdout.splitlines()]
    assert {e["activity"] for e in entered if e["event_type"] == "enter"} == {"walking"}


def test_where_nothing_gets_better_nothing_is_written(desk, finished):
    write_recording(desk.folder / "usual.csv", ["running", "sitting"], np.eye(3))
    files = (finished / "mine.json", desk.folder / "usual.csv")
    done = invoked("personalize", *files, "--out", desk.folder / "none")
    assert done.exit_code == 1
    assert "nothing written: it is no better" in done.stdout
    assert not (desk.folder / "none").exists()


@pytest.mark.parametrize(
    ("labels", "said"),
    [(["walking"], "fewer than two of the model's labels"), (["sitting", "standing"], "too few")],
)
def test_recordings_that_can_not_be_checked_on_are_refused(labels, said, desk, finished):
    write_recording(desk.folder / "short.csv", labels, np.eye(3), seconds=8)
    done = invoked("personalize", finished / "mine.json", desk.folder / "short.csv")
    assert done.exit_code == 1
    assert said in done.stderr


def test_a_model_without_its_weights_can_not_be_adapted_and_says_what_is_missing(desk):
    write_recording(desk.folder / "any.csv", ["walking"], np.eye(3), seconds=8)
    done = invoked("personalize", "pocket", desk.folder / "any.csv")
    assert done.exit_code == 1
    assert "pocket.weights.npz: not there" in done.stderr


@pytest.mark.parametrize("options", [[], ["--placement", "pocket", "--config", "mine.toml"]])
def test_a_run_needs_one_recipe(options, desk):
    done = desk(*HARD_TRAIN, "run", *options, code=2)
    assert "give either --placement or --config" in done.stderr


def test_a_recipe_with_a_wrong_key_is_one_line_with_file_and_key(desk):
    (desk.folder / "wrong.toml").write_text(RECIPE + "epoch = 3\n", "utf-8")
    done = desk(*HARD_TRAIN, "run", "--config", "wrong.toml", code=1)
    assert done.stderr.startswith("hard-train: wrong.toml: network.epoch: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_committed_recipe_that_is_no_bundled_model_s_is_taken_by_its_path(desk):
    recipe = bundled_recipes()["pocket-axes"]
    done = desk(*HARD_TRAIN, "run", "--config", recipe, "--data", desk.folder / "none", code=1)
    assert "no MotionSense there" in done.stderr


@pytest.mark.recordings
def test_four_epochs_on_real_people_tell_most_windows_of_others_right(desk, real_people):
    real = (desk.folder / "real.toml").write_text
    real(RECIPE.replace("epochs = 12", "epochs = 4"), "utf-8")
    command = [*HARD_TRAIN, "run", "--config", "real.toml", "--runs", "real", "--no-report"]
    desk(*command, "--data", real_people(motionsense=(1, 2, 5, 6, 4, 10)))
    figures = json.loads((run_of(desk.folder / "real") / "figures.json").read_text("utf-8"))
    assert figures["subjects"]["validation"] == [4, 10]
    assert figures["validation"]["mean_accuracy"] > 0.6
