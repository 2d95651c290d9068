"""What real clients wrote, by the command that a user would type."""

import json

import numpy as np
import pytest

from hard.api import STANDARD_GRAVITY_M_S2
from hard_file import Options, open_recording
from tests.calling import hard

pytestmark = pytest.mark.recordings


@pytest.fixture
def samples(recordings):
    return recordings / "samples"


def replay(path):
    return hard("replay", "--json", path)


def test_a_walk_whose_total_acceleration_is_only_in_the_uncalibrated_file_is_a_walk(samples):
    ran = replay(samples / "sensorlogger-ios-walking.zip")
    assert ran.returncode == 0, ran.stderr
    lasted_ns = {}
    for event in map(json.loads, ran.stdout.splitlines()):
        if event["event_type"] == "exit":
            lasted = event["t_end_ns"] - event["t_start_ns"]
            lasted_ns[event["activity"]] = lasted_ns.get(event["activity"], 0) + lasted
    assert set(lasted_ns) <= {"walking", "unknown"}
    assert lasted_ns["walking"] > 0.65 * sum(lasted_ns.values())


def test_a_dump_of_a_witmotion_gives_every_reading(samples):
    messages = open_recording(samples / "wt901-binary.bin", Options(rate_hz=100.0)).messages()
    batches = [batch for message in messages for batch in message]
    accel = np.concatenate([batch.values for batch in batches if batch.sensor == "accel"])
    assert len(accel) == sum(len(batch.t) for batch in batches if batch.sensor == "gyro") == 2017
    norm = float(np.median(np.linalg.norm(accel, axis=1))) * STANDARD_GRAVITY_M_S2
    assert norm == pytest.approx(STANDARD_GRAVITY_M_S2, rel=0.05)


def test_an_export_of_phyphox_without_gravity_is_refused_by_name(samples):
    ran = replay(samples / "phyphox-export-jumping.zip")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "only 'Linear Acceleration x (m/s^2)'" in ran.stderr
    assert "gravity is missing" in ran.stderr
