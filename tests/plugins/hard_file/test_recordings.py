"""Real recordings, where they are at hand."""

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hard.api import Annotation, SampleBatch, UnusableInput
from hard_file import Options, open_recording

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


def test_a_phyphox_export_without_gravity_is_refused_by_name(data):
    with pytest.raises(UnusableInput, match=r"phyphox that holds only 'Linear.*gravity is missing"):
        open_recording(data / "samples" / "phyphox-export-jumping.zip")


def test_the_phyphox_export_with_gravity_named_so_is_read_with_its_time_of_day(data, tmp_path):
    path = tmp_path / "jumping.zip"
    with (
        zipfile.ZipFile(data / "samples" / "phyphox-export-jumping.zip") as real,
        zipfile.ZipFile(path, "w") as renamed,
    ):
        for name in real.namelist():
            renamed.writestr(name, real.read(name).replace(b"Linear Acceleration", b"Acceleration"))
    recording = open_recording(path)
    assert (recording.info.format, recording.info.clock) == ("phyphox", "epoch")
    by_sensor, skipped = samples(recording)
    t, _ = by_sensor["accel"]
    assert skipped == []
    assert t[0] == 1681510296079174000 + 4959458
    assert (np.diff(t) > 0).all()


def test_the_witmotion_dump_gives_2017_readings_that_rest_at_one_g(data):
    path = data / "samples" / "wt901-binary.bin"
    with pytest.raises(UnusableInput, match="wt901 has no stamps; give the device's rate"):
        open_recording(path)
    recording = open_recording(path, Options(rate_hz=100))
    by_sensor, skipped = samples(recording)
    assert recording.info.format == "wt901"
    assert skipped == []
    for sensor in ("accel", "gyro"):
        t, values = by_sensor[sensor]
        assert t.tolist() == [k * 10_000_000 for k in range(2017)]
        assert values.shape == (2017, 3)
    norms = np.linalg.norm(by_sensor["accel"][1], axis=1)
    assert np.median(norms) == pytest.approx(1.0, abs=0.05)  # uncalibrated: 1.04 g


def test_a_sensor_logger_export_as_json_gives_what_the_zip_gives(data, tmp_path):
    archive = zipfile.ZipFile(data / "samples" / "sensorlogger-ios-walking.zip")
    rows = []
    with archive:
        for name in sorted(archive.namelist(), reverse=True):
            lines = io.StringIO(archive.read(name).decode("utf-8-sig"))
            rows += [{"sensor": name[:-4], **row} for row in csv.DictReader(lines)]
    path = tmp_path / "walk.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    of_zip, _ = samples(open_recording(data / "samples" / "sensorlogger-ios-walking.zip"))
    recording = open_recording(path)
    assert recording.info.format == "sensor_logger"
    of_json, skipped = samples(recording)
    assert skipped == []
    for sensor, (t, values) in of_zip.items():
        assert np.array_equal(of_json[sensor][0], t)
        assert np.array_equal(of_json[sensor][1], values)


def test_an_experiment_of_hapt_is_read_whole_with_its_labels(data, tmp_path):
    names = ("acc_exp01_user01.txt", "gyro_exp01_user01.txt", "labels.txt")
    with zipfile.ZipFile(data / "hapt.zip") as archive:
        for name in names:
            archive.extract(f"RawData/{name}", tmp_path)
    folder = tmp_path / "RawData"
    recording = open_recording(folder / names[0])
    table = np.loadtxt(folder / names[0])
    by_sensor, skipped = samples(recording)
    t, accel = by_sensor["accel"]
    assert skipped == []
    assert np.array_equal(accel, table.astype("f4"))
    assert t.tolist() == [k * 20_000_000 for k in range(len(table))]
    notes = [p for m in recording.messages() for p in m if isinstance(p, Annotation)]
    first = next(note for note in notes if note.text)
    assert (first.text, first.t) == ("STANDING", 249 * 20_000_000)


def test_the_zip_of_hapt_gives_a_stream_an_experiment(data):
    recording = open_recording(data / "hapt.zip")
    assert recording.info.reason.startswith("HAPT by name (61 of its experiments)")
    streams = []
    for message in recording.messages():
        for part in message:
            if not streams or streams[-1] != part.stream:
                streams.append(part.stream)
        if len(streams) == 3:
            break
    assert streams == ["exp01_user01", "exp02_user01", "exp03_user02"]


def test_sp_sw_har_is_read_whole_with_its_repeated_stamps(data, tmp_path):
    with zipfile.ZipFile(data / "sp-sw-har.zip") as archive:
        path = Path(archive.extract("DATA/s11/s11_02_sp.csv", tmp_path))
    table = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    recording = open_recording(path)
    by_sensor, skipped = samples(recording)
    t, accel = by_sensor["accel"]
    assert (recording.info.format, skipped) == ("sp_sw_har", [])
    assert t.tolist() == [int(row["timestamp"]) * 1_000_000 for row in table]
    assert accel[:, 1].tolist() == np.float32([row["y_acc"] for row in table]).tolist()
    assert 0.05 < (np.diff(t) == 0).mean() < 0.15
    notes = [p.text for m in recording.messages() for p in m if isinstance(p, Annotation)]
    assert notes[:2] == ["SEATED", "STANDING_UP"]
