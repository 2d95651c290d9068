"""Real recordings, where they are at hand."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hard.api import SampleBatch, UnusableInput
from hard_file import open_recording

pytestmark = pytest.mark.recordings


@pytest.fixture
def data():
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("HARD_DATA", default))
    if not folder.is_dir():
        pytest.skip("needs the real recordings: set HARD_DATA to their folder")
    return folder


def samples(recording):
    """Return sensor -> (t, values) and what was skipped."""
    skipped = []
    messages = list(recording.messages(lambda reason, _detail: skipped.append(reason)))
    batches = [part for message in messages for part in message if isinstance(part, SampleBatch)]
    by_sensor = {}
    for sensor in {batch.sensor for batch in batches}:
        same = [batch for batch in batches if batch.sensor == sensor]
        by_sensor[sensor] = tuple(
            np.concatenate([getattr(batch, name) for batch in same]) for name in ("t", "values")
        )
    return by_sensor, skipped


@pytest.mark.parametrize("activity", ["std_6", "wlk_7", "jog_9"])
def test_motionsense_members_are_read_whole_with_a_plausible_norm(data, tmp_path, activity):
    with zipfile.ZipFile(data / "motionsense.zip") as archive:
        path = Path(archive.extract(f"A_DeviceMotion_data/{activity}/sub_1.csv", tmp_path))
    recording = open_recording(path)
    assert (recording.info.format, recording.info.sign) == ("motionsense", -1)
    by_sensor, skipped = samples(recording)
    t, accel = by_sensor["accel"]
    assert skipped == []
    assert len(t) == len(path.read_text(encoding="utf-8").splitlines()) - 1
    assert t.tolist() == [k * 20_000_000 for k in range(len(t))]
    assert np.array_equal(t, by_sensor["gyro"][0])
    if activity == "std_6":
        assert np.median(np.linalg.norm(accel, axis=1)) == pytest.approx(1.0, abs=0.03)


def test_motionsense_values_are_those_of_the_file(data, tmp_path):
    with zipfile.ZipFile(data / "motionsense.zip") as archive:
        path = Path(archive.extract("A_DeviceMotion_data/wlk_7/sub_1.csv", tmp_path))
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    by_sensor, _ = samples(open_recording(path))
    assert np.array_equal(by_sensor["accel"][1], (table[:, 4:7] + table[:, 10:13]).astype("f4"))
    assert np.array_equal(by_sensor["gyro"][1], table[:, 7:10].astype("f4"))


def test_a_sensor_logger_export_keeps_its_first_stamp_and_rests_at_one_g(data):
    recording = open_recording(data / "samples" / "sensorlogger-ios-walking.zip")
    assert recording.info.reason == (
        "an export of Sensor Logger, platform ios (Metadata.csv): "
        "reads AccelerometerUncalibrated.csv, Gyroscope.csv"
    )
    assert (recording.info.clock, recording.info.sign) == ("epoch", -1)
    by_sensor, skipped = samples(recording)
    t, accel = by_sensor["accel"]
    assert skipped == []
    assert t[0] == 1758447241454585000
    assert by_sensor["gyro"][0][0] == 1758447241475776000
    assert recording.info.declared["accel"].unit == "g"
    assert np.median(np.linalg.norm(accel[:100], axis=1)) == pytest.approx(1.0, abs=0.1)


def test_a_phyphox_export_is_refused_with_its_header_named(data):
    with pytest.raises(
        UnusableInput, match=r"'Raw Data.csv' has the columns 'Time \(s\)', 'Linear"
    ):
        open_recording(data / "samples" / "phyphox-export-jumping.zip")
