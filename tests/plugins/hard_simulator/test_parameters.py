"""The measured parameters: small, and honest about their origin."""

import json
from pathlib import Path

import numpy as np

import hard_simulator

COMMITTED = Path(hard_simulator.__file__).with_name("parameters.json")


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
