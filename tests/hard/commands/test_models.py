"""`hard models`, and what becomes of a model that would end the daemon."""

import json
import re
import shutil
import tomllib

import pytest

from hard.card import bundled
from hard.classifier import runtime_name
from tests.calling import Forked, hard
from tests.models import CRASHING_SEED, mutated, written
from tests.test_control import configured, started, until

WEARER = (
    '[hard]\nstate_dir = "state"  # kept\n[sources.sim]\nplugin = "simulator"\n'
    '[sinks.out]\nplugin = "stdout"\n'
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hard.toml"
    path.write_text(WEARER)
    return path


@pytest.fixture
def own(tmp_path):
    return written(tmp_path / "made", stem="own", name="own")


def listed(config):
    done = hard("models", "list", "-c", config, "--json")
    return {model["name"]: model for model in map(json.loads, done.stdout.splitlines())}


def test_without_a_configuration_the_bundled_models_are_listed(tmp_path):
    done = hard("models", "list", "--json", folder=tmp_path)
    models = [json.loads(line) for line in done.stdout.splitlines()]
    assert [model["name"] for model in models] == bundled()
    assert [model["name"] for model in models if model["used_by"]] == ["pocket"]
    assert "kB" in hard("models", "list", folder=tmp_path).stdout


def test_a_model_is_installed_found_by_its_name_and_set(config, own):
    done = hard("models", "install", own, "-c", config)
    assert done.returncode == 0, done.stderr
    assert f"use it: hard models set own -c {config}" in done.stderr
    model = listed(config)["own"]
    assert (model["origin"], model["used_by"]) == ("installed", [])
    done = hard("models", "set", "own", "-c", config)
    assert done.returncode == 0, done.stderr
    assert "it holds from the next start" in done.stderr
    assert config.read_text() == f'{WEARER}\n[model]\nname = "own"\n'
    assert listed(config)["own"]["used_by"] == ["default"]
    effective = json.loads(hard("check", "-c", config, "--json").stdout)
    assert effective["model.name"] == f"{config.parent}/state/models/own/own.json"
    shutil.rmtree(config.parent / "made")
    assert "own@" in hard("doctor", "-c", config, "--seconds", 0.1).stdout
    assert hard("models", "set", "own", "-c", config).stdout.endswith("has model 'own' already\n")


def test_a_running_daemon_takes_it_up(tmp_path, own):
    config = configured(tmp_path)
    before = config.read_text()
    with started(config):
        assert hard("models", "install", own, "-c", config, "--json").returncode == 0
        done = hard("models", "set", "own", "-c", config)
        assert done.returncode == 0, done.stderr
        running = json.loads(hard("status", "-c", config, "--json").stdout)
    assert [name.partition("@")[0] for name in running["models"]] == ["own"]
    assert tomllib.loads(config.read_text()) == tomllib.loads(before) | {"model": {"name": "own"}}


def test_what_can_not_be_used_is_not_set(config, own):
    own.with_suffix(".tflite").write_bytes(b"")
    for name, told in ((own, "its sha256 is"), ("own", "no model card there")):
        done = hard("models", "set", name, "-c", config)
        assert (done.returncode, config.read_text()) == (1, WEARER)
        assert told in done.stderr
    config.write_text(f"{WEARER}[decision.enter_at]\nlaying = 0.5\n[model]\nname = 'waist'\n")
    before = config.read_text()
    done = hard("models", "set", "pocket", "-c", config)
    assert (done.returncode, config.read_text()) == (78, before)
    assert "nothing was changed" in done.stderr


def test_a_missing_model_can_be_installed_though_the_configuration_wants_it_already(config, own):
    config.write_text(f'{WEARER}[model]\nname = "own"\n')
    assert "no model card there" in hard("check", "-c", config).stderr
    assert (
        "what the configuration uses can't be told" in hard("models", "list", "-c", config).stderr
    )
    assert hard("models", "install", own, "-c", config).returncode == 0
    assert hard("check", "-c", config).returncode == 0


def test_a_refused_model_leaves_nothing(config, own):
    done = hard("models", "install", own, "--sha256", "0" * 64, "-c", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "its sha256 is" in done.stderr
    assert not (config.parent / "state").exists()


def test_verify_tells_which_model_is_broken_and_lists_it_all_the_same(config, own):
    hard("models", "install", own, "-c", config)
    (config.parent / "state/models/own/own.tflite").write_bytes(b"TFL3")
    done = hard("models", "verify", "own", "pocket", "-c", config, "--json")
    assert done.returncode == 1
    outcomes = [json.loads(line)["ok"] for line in done.stdout.splitlines()]
    assert outcomes == [False, True]


# -- at the daemon's start -----------------------------------------------------------------------


def crashing(folder, **fields):
    if runtime_name() != "tflite-runtime":
        pytest.skip("this runtime withstands damaged models")
    return written(folder, mutated(CRASHING_SEED), **fields)


def test_a_model_that_crashes_the_runtime_is_told_at_the_start_with_code_78(config):
    crashing(config.parent, stem="own", name="own")
    config.write_text(f'{WEARER}[model]\nname = "own.json"\n')
    done = hard("run", "-c", config)
    assert done.returncode == 78
    assert re.search(r"own\.json: it crashes .* \(SIG[A-Z]+\): damaged", done.stderr)


def test_one_that_would_stand_in_without_a_gyroscope_is_told_and_left(config, own):
    body = json.loads(own.read_text())
    accel = {
        "input": body["input"] | {"channels": body["input"]["channels"][:3]},
        "golden": body["golden"] | {"window": [row[:3] for row in body["golden"]["window"]]},
        "usual": None,
    }
    crashing(own.parent, stem="spare", name="spare", **accel)
    config = configured(config.parent, f'[model]\nname = "{own}"')
    log = config.parent / "log.txt"
    with (
        log.open("w") as errors,
        Forked("run", "-c", config, stderr=errors) as process,
    ):
        until((config.parent / "state/control.sock").exists)
        process.terminate()
        assert process.wait(20) == 0
    assert "without a gyroscope can't use a model" in log.read_text()
    remembered = json.loads((config.parent / "state/proven-models.json").read_text())
    assert remembered["sha256"] == [body["sha256"]]
