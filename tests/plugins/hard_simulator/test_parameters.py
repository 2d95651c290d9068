"""The measured parameters: small, honest about their origin, and measured again."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import hard_simulator
from hard_training import simulator_parameters

COMMITTED = Path(hard_simulator.__file__).with_name("parameters.json")
ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("HARD_DATA", ROOT.parent / "shared" / "data"))


def numbers(value, path=""):
    """Yield each array of numbers with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f"{path}/{key}")
    elif not isinstance(value, str):
        yield path, np.asarray(value, float)


def test_the_parameters_are_small_and_say_that_they_are_synthetic_and_whence():
    text = COMMITTED.read_text(encoding="utf-8")
    parameters = json.loads(text)
    assert len(text) < 60_000
    assert "SYNTHETIC" in parameters["about"]
    assert "simulator_parameters" in parameters["provenance"]["command"]
    assert [parameters["placements"][p]["people"] for p in ("pocket", "waist")] == [15, 21]


def test_no_parameter_is_missing_or_endless():
    for path, values in numbers(json.loads(COMMITTED.read_text(encoding="utf-8"))):
        assert np.isfinite(values).all(), path


def test_the_people_kept_for_tests_are_left_out():
    provenance = json.loads(COMMITTED.read_text(encoding="utf-8"))["provenance"]
    assert provenance["pocket"]["left_out_people"] == [3, 9, 15, 20, 23]
    assert provenance["waist"]["left_out_people"] == [2, 4, 9, 10, 12, 13, 18, 20, 24]


@pytest.mark.recordings
def test_measuring_again_gives_the_committed_parameters():
    missing = [n for n in ("motionsense.zip", "hapt.zip") if not (DATA / n).exists()]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not in {DATA} (set HARD_DATA)")
    measured = json.loads(simulator_parameters.to_json(simulator_parameters.measure(DATA)))
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    again = dict(numbers(measured))
    for path, values in numbers(committed):
        np.testing.assert_allclose(again.pop(path), values, rtol=0.06, atol=0.02, err_msg=path)
    assert not again


@pytest.mark.recordings
def test_no_one_kept_for_tests_is_read():
    path = DATA / "motionsense.zip"
    if not path.exists():
        pytest.skip(f"motionsense.zip not in {DATA} (set HARD_DATA)")
    people = {r.person for r in simulator_parameters.read_motionsense(path)}
    assert len(people) == 15
    assert not people & {3, 9, 15, 20, 23}
