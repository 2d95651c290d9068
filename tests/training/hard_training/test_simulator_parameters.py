"""`hard_training.simulator_parameters`: measured again they are those that were committed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import hard_simulator
from hard_training import simulator_parameters
from tests.plugins.hard_simulator.test_parameters import numbers

COMMITTED = Path(hard_simulator.__file__).with_name("parameters.json")
ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("HARD_DATA", ROOT.parent / "shared" / "data"))


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
