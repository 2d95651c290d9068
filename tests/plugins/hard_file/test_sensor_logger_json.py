"""Sensor Logger's JSON export."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write

T0 = 1_758_447_241_454_585_001
IOS = {"sensor": "Metadata", "platform": "ios", "standardisation": "false"}


def sample(sensor, k, xyz=(1, 2, 3)):
    x, y, z = map(str, xyz)
    values = {"seconds_elapsed": "0.1", "z": z, "y": y, "x": x}
    return {"sensor": sensor, "time": str(T0 + k * 10_000_000), **values}


def export(folder, objects, **dumped):
    text = objects if isinstance(objects, str) else json.dumps(objects, **dumped)
    return write(folder, {"walk.json": text}) / "walk.json"


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mixed", [True, False])
def test_sensors_are_read_whether_they_stand_apart_or_mixed(tmp_path, mixed, indent):
    accel = [sample("Accelerometer", k) for k in range(50)]
    gravity = [sample("Gravity", k, (0, 0, -9.5)) for k in range(50)]
    gyro = [sample("Gyroscope", k, (0.5, 0, 0)) for k in range(0, 50, 2)]
    objects = accel + gravity + gyro
    if mixed:
        objects.sort(key=lambda one: one["time"])
    read = Read(export(tmp_path, [IOS, *objects], indent=indent))
    assert (read.info.format, read.info.sign) == ("sensor_logger", -1)
    assert read.info.sensors == ("linear_accel", "gravity", "gyro")
    assert read.t("linear_accel") == read.t("gravity") == [T0 + k * 10_000_000 for k in range(50)]
    assert (read.values("linear_accel")[0], read.values("gravity")[0]) == ([1, 2, 3], [0, 0, -9.5])
    assert read.t("gyro") == [T0 + k * 10_000_000 for k in range(0, 50, 2)]


def test_annotations_keep_their_text(tmp_path):
    note = {"sensor": "Annotation", "time": str(T0 + 5), "text": 'stairs, "up"\nand down'}
    objects = [IOS, sample("TotalAcceleration", 0), sample("TotalAcceleration", 1), note]
    assert Read(export(tmp_path, objects)).labels == [(T0 + 5, 'stairs, "up" and down')]


def test_linear_acceleration_alone_is_refused(tmp_path):
    with pytest.raises(UnusableInput, match="no acceleration that includes gravity"):
        open_recording(export(tmp_path, [IOS, sample("Accelerometer", 0)]))


def test_bad_objects_are_counted_and_the_others_kept(tmp_path):
    good = [sample("TotalAcceleration", k) for k in range(5)]
    bad = [
        {"sensor": "TotalAcceleration", "time": "x", "x": "1", "y": "2", "z": "3"},
        {"sensor": "TotalAcceleration", "time": "5", "x": "1", "y": "2"},
        {"sensor": "TotalAcceleration", "time": "5", "x": "1,5", "y": "2", "z": "nan"},
    ]
    text = json.dumps([*good[:3], *bad, *good[3:]])
    read = Read(export(tmp_path, text.replace('"time": "x"', '"time": x')))
    assert len(read.t()) == 5
    assert read.skipped.total() == 3


def test_a_file_cut_off_is_read_up_to_there(tmp_path):
    text = json.dumps([sample("TotalAcceleration", k) for k in range(50)])
    read = Read(export(tmp_path, text[:-40]))
    assert len(read.t()) == 49
    assert read.skipped.total() == 1


def test_a_list_of_something_else_is_refused(tmp_path):
    for text in ("[]", "[1, 2, 3]", '[{"name": "accel"}]'):
        with pytest.raises(UnusableInput, match="as a JSON export of Sensor Logger has"):
            open_recording(export(tmp_path, text))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "walk.json"
    with path.open("w") as file:
        file.write("[")
        for k in range(150_000):
            file.write(json.dumps(sample("TotalAcceleration", k)) + ",")
        file.write(json.dumps(sample("Gyroscope", 0)) + "]")
    assert path.stat().st_size > 17_000_000
    tracemalloc.start()
    try:
        n = sum(len(p) for m in open_recording(path).messages() for p in m if p.sensor == "accel")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n == 150_000
    assert peak_bytes < 12_000_000


@given(st.text('{}[]",:sensorTotalAcceleration\\ 0123\n', max_size=300), st.integers(0, 5))
def test_arbitrary_text_between_raises_nothing_but_unusable_input(tmp_path_factory, text, at):
    objects = [json.dumps(sample("TotalAcceleration", k)) for k in range(5)]
    objects.insert(at, text)
    path = export(tmp_path_factory.mktemp("any"), "[" + ",".join(objects) + "]")
    try:
        read = Read(path)
    except UnusableInput as error:
        assert "walk.json" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert len(read.t()) >= 3
