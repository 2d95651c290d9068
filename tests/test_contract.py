"""What a recording is declared to be, against what it is: told for real people and motions."""

import csv
import io
import zipfile
from collections import Counter

import numpy as np
import pytest

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, Declared, SampleBatch
from hard.card import ModelCard
from hard.conditioning import Conditioner, Verdict

PEOPLE = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11)
TRIALS = ("wlk_7", "jog_9", "sit_5", "std_6", "ups_3", "dws_1")
T0_NS = 1_700_000_000 * NS_PER_S
G = np.float32(STANDARD_GRAVITY_M_S2)

pytestmark = pytest.mark.recordings


@pytest.fixture(scope="module")
def people(recordings):
    """Return {(person, trial): total, linear acceleration (m/s², our frame) and turning}."""
    found = {}
    with zipfile.ZipFile(recordings / "motionsense.zip") as archive:
        for i, person in enumerate(PEOPLE):
            for trial in (TRIALS[i % 2], TRIALS[2 + i % 4]):  # moving, and any
                name = f"A_DeviceMotion_data/{trial}/sub_{person}.csv"
                rows = list(csv.DictReader(io.TextIOWrapper(archive.open(name), "utf-8")))
                columns = [
                    np.array([[float(row[f"{what}.{axis}"]) for axis in "xyz"] for row in rows])
                    for what in ("gravity", "userAcceleration", "rotationRate")
                ]
                gravity, linear, turning = (column.astype(np.float32) for column in columns)
                found[person, trial] = (-(gravity + linear) * G, -linear * G, turning)
    assert len(found) == 20
    return found


def verdicts(accel, gyro, *, rate_hz=50.0, stated_hz=None, accel_unit="m/s2", sign=1):
    t = T0_NS + np.rint(np.arange(len(accel)) * (NS_PER_S / rate_hz)).astype(np.int64)
    conditioner = Conditioner(ModelCard.load("pocket")[0].input, Counter())
    message = [
        SampleBatch("s", "accel", t, accel, Declared(accel_unit, sign, rate_hz=stated_hz)),
        SampleBatch("s", "gyro", t, gyro, Declared("rad/s", rate_hz=stated_hz)),
    ]
    items = [*conditioner.feed(message), *conditioner.flush()]
    return [item for item in items if isinstance(item, Verdict)]


def test_the_right_ones_raise_no_alarm(people):
    for who, (total, _, turning) in people.items():
        assert [v.status for v in verdicts(total, turning)] == ["ok"], who


WRONG = {
    "g called m/s2": lambda total, linear, turning: ((total / G, turning), {}),
    "m/s2 called g": lambda total, linear, turning: ((total, turning), {"accel_unit": "g"}),
    "gravity removed": lambda total, linear, turning: ((linear, turning), {}),
    "deg/s called rad/s": lambda total, linear, turning: ((total, np.degrees(turning)), {}),
    "100 Hz called 50": lambda total, linear, turning: (
        (total, turning),
        {"rate_hz": 100.0, "stated_hz": 50.0},
    ),
    "sign unknown": lambda total, linear, turning: ((total, turning), {"sign": None}),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_declaration_is_told(people, how):
    missed = {}
    for who, signals in people.items():
        arguments, options = WRONG[how](*signals)
        found = [v.status for v in verdicts(*arguments, **options)]
        if "rejected" not in found:
            missed[who] = found
    assert not missed
