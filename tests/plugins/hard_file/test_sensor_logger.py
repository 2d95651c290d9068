"""Sensor Logger exports."""

import io
import random
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import Annotation, SampleBatch, UnusableInput
from hard_file import Options, open_recording

T0 = 1_758_447_241_454_585_001
HEADER = "time,seconds_elapsed,z,y,x\n"
IOS = "version,platform,standardisation\n3,ios,false\n"
IOS_STANDARDISED = "version,platform,standardisation\n3,ios,true\n"
ANDROID = "version,platform\n3,android\n"


def member(times, values=(3, 2, 1)):
    z, y, x = values
    return HEADER + "".join(f"{t},0.5,{z},{y},{x}\n" for t in times)


SOME = member([T0, T0 + 10])


def write_folder(folder, members):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in members.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_zip(path, members, inside=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(inside + name, text)
    return path


def parts(recording):
    return [part for message in recording.messages() for part in message]


def declared(tmp_path, *names, metadata=None, **options):
    members = {f"{name}.csv": SOME for name in names}
    if metadata is not None:
        members["Metadata.csv"] = metadata
    info = open_recording(write_folder(tmp_path / "export", members), Options(**options)).info
    return {sensor: (told.unit, told.sign) for sensor, told in info.declared.items()}


def test_folder_zip_and_zip_with_a_folder_inside_read_the_same(tmp_path):
    members = {"Accelerometer.csv": SOME, "Gravity.csv": SOME, "Metadata.csv": IOS}
    for path in (
        write_folder(tmp_path / "walk", members),
        write_zip(tmp_path / "walk.zip", members),
        write_zip(tmp_path / "walk.2.zip", members, inside="2024-05-01/"),
    ):
        linear, gravity = parts(open_recording(path, Options(stream="walk")))
        assert (linear.sensor, gravity.sensor) == ("linear_accel", "gravity")
        assert linear.t.tolist() == [T0, T0 + 10]
        assert linear.values.tolist() == [[1, 2, 3], [1, 2, 3]]


def test_total_acceleration_is_preferred(tmp_path):
    names = ("TotalAcceleration", "Accelerometer", "Gravity", "AccelerometerUncalibrated")
    assert declared(tmp_path, *names, metadata=ANDROID) == {"accel": ("m/s2", 1)}
    assert declared(tmp_path, "TotalAcceleration") == {"accel": ("m/s2", 1)}


@pytest.mark.parametrize(
    ("metadata", "options", "sign"),
    [
        (IOS, {}, -1),
        (ANDROID, {}, 1),
        (IOS_STANDARDISED, {}, 1),
        (None, {}, None),
        ("garbage\n", {}, None),
        (None, {"platform": "ios"}, -1),
        (IOS, {"platform": "android"}, 1),
    ],
)
def test_the_sign_of_linear_acceleration_and_gravity_follows_the_platform(
    tmp_path, metadata, options, sign
):
    names = ("Accelerometer", "Gravity", "Gyroscope")
    assert declared(tmp_path, *names, metadata=metadata, **options) == {
        "linear_accel": ("m/s2", sign),
        "gravity": ("m/s2", sign),
        "gyro": ("rad/s", 1),
    }


@pytest.mark.parametrize(
    ("metadata", "unit_and_sign"),
    [(IOS, ("g", -1)), (IOS_STANDARDISED, ("m/s2", 1)), (ANDROID, ("m/s2", 1))],
)
def test_without_gravity_the_uncalibrated_accelerometer_is_read(tmp_path, metadata, unit_and_sign):
    names = ("Accelerometer", "AccelerometerUncalibrated")
    assert declared(tmp_path, *names, metadata=metadata) == {"accel": unit_and_sign}


def test_a_gravity_file_without_rows_counts_as_missing(tmp_path):
    members = {
        "Accelerometer.csv": SOME,
        "Gravity.csv": HEADER,
        "AccelerometerUncalibrated.csv": SOME,
        "Metadata.csv": IOS,
    }
    info = open_recording(write_folder(tmp_path / "export", members)).info
    assert info.sensors == ("accel",)
    assert info.ignored == ("Gravity.csv: has no rows",)


def test_the_uncalibrated_accelerometer_of_an_unknown_system_is_refused(tmp_path):
    with pytest.raises(UnusableInput, match='set platform = "ios" or "android"'):
        declared(tmp_path, "AccelerometerUncalibrated")


def test_linear_acceleration_alone_is_refused_and_why_is_said(tmp_path):
    with pytest.raises(UnusableInput, match="without gravity no model can tell sitting from"):
        declared(tmp_path, "Accelerometer", "Gyroscope", metadata=IOS)


def test_the_calibrated_gyroscope_is_preferred(tmp_path):
    members = {
        "TotalAcceleration.csv": SOME,
        "Gyroscope.csv": member([T0], (9, 9, 9)),
        "GyroscopeUncalibrated.csv": SOME,
    }
    _, gyro = parts(open_recording(write_folder(tmp_path / "export", members)))
    assert gyro.values.tolist() == [[9, 9, 9]]
    del members["Gyroscope.csv"]
    _, gyro = parts(open_recording(write_folder(tmp_path / "other", members)))
    assert gyro.values.tolist() == [[1, 2, 3], [1, 2, 3]]


def test_annotations_come_with_the_samples_of_their_time(tmp_path):
    notes = 'time,seconds_elapsed,text\n5,0,"stairs, up"\n60000,1,sitting\n'
    members = {"TotalAcceleration.csv": member(range(100_000)), "Annotation.csv": notes}
    recording = open_recording(write_folder(tmp_path / "export", members))
    messages = list(recording.messages())
    found = [(m, part) for m in messages for part in m if isinstance(part, Annotation)]
    assert [(part.t, part.text) for _, part in found] == [(5, "stairs, up"), (60_000, "sitting")]
    for message, note in found:
        (accel,) = (part for part in message if isinstance(part, SampleBatch))
        assert accel.t[0] <= note.t <= accel.t[-1]


@pytest.mark.parametrize("notes", ["", "\n", "time,seconds_elapsed,text\n", "\ufefftime,text"])
def test_that_nobody_typed_a_label_is_nothing_to_tell(tmp_path, notes):
    members = {"TotalAcceleration.csv": SOME, "Annotation.csv": notes}
    recording = open_recording(write_folder(tmp_path / "export", members))
    assert recording.info.ignored == ()
    assert [type(part) for part in parts(recording)] == [SampleBatch]


def test_annotations_without_their_columns_are_told(tmp_path):
    members = {"TotalAcceleration.csv": SOME, "Annotation.csv": "time,note\n5,stairs\n"}
    recording = open_recording(write_folder(tmp_path / "export", members))
    assert recording.info.ignored == ("Annotation.csv: lacks the columns 'text'",)


def messages_of(tmp_path, **times):
    members = {f"{name}.csv": member(stamps) for name, stamps in times.items()}
    recording = open_recording(write_folder(tmp_path / "export", members))
    return [
        {part.sensor: part.t.tolist() for part in message}
        for message in recording.messages()
        if message
    ]


def test_no_sensors_samples_come_behind_anothers(tmp_path):
    fast = [T0 + i * 5_000_000 for i in range(80_000)]
    slow = [T0 - 400_000_000 + i * 20_000_000 for i in range(23_000)]
    messages = messages_of(tmp_path, TotalAcceleration=fast, Gyroscope=slow)
    assert len(messages) > 4
    for sensor, stamps in (("accel", fast), ("gyro", slow)):
        assert [t for message in messages for t in message.get(sensor, [])] == stamps
    newest = 0
    for message in messages:
        assert min(min(stamps) for stamps in message.values()) > newest
        newest = max(max(stamps) for stamps in message.values())


@pytest.mark.parametrize("wild", [0, 2**63 - 1])
@pytest.mark.parametrize("at", [0, 1, 700, 4_000, 9_998, 9_999])
def test_a_lone_wild_stamp_does_not_upset_the_merge(tmp_path, wild, at):
    accel = [T0 + i * 10_000_000 for i in range(10_000)]
    gyro = [T0 + 3_000_000 + i * 10_000_000 for i in range(10_000)]
    accel[at] = wild
    messages = messages_of(tmp_path, TotalAcceleration=accel, Gyroscope=gyro)
    assert [t for message in messages for t in message.get("accel", [])] == accel
    assert [t for message in messages for t in message.get("gyro", [])] == gyro
    newest = 0
    for message in messages:
        stamps = [t for part in message.values() for t in part if t != wild]
        assert min(stamps, default=T0 * 2) > newest
        newest = max([newest, *stamps])


def test_an_accelerometer_without_one_good_row_is_refused_before_anything_comes(tmp_path):
    members = {"TotalAcceleration.csv": HEADER + "1,2,x,y,z\n", "Gyroscope.csv": SOME}
    recording = open_recording(write_folder(tmp_path / "export", members))
    came = []
    with pytest.raises(UnusableInput, match=r"not one usable row \(1 not_a_number\)"):
        came.extend(message for message in recording.messages() if message)
    assert came == []


def test_a_gyroscope_without_one_good_row_is_done_without(tmp_path):
    members = {"TotalAcceleration.csv": SOME, "Gyroscope.csv": HEADER + "1,2,x,y,z\n"}
    (accel,) = parts(open_recording(write_folder(tmp_path / "export", members)))
    assert accel.sensor == "accel"


def test_a_zip_of_something_else_is_refused_with_the_header_found(tmp_path):
    path = write_zip(tmp_path / "phyphox.zip", {"Raw Data.csv": '"Time (s)","Linear x"\n1,2\n'})
    with pytest.raises(UnusableInput, match=r"'Raw Data.csv' has the columns 'Time \(s\)', 'Line"):
        open_recording(path)


def test_a_zip_whose_csv_can_not_be_read_is_refused_with_the_reason(tmp_path):
    path = write_zip(tmp_path / "some.zip", {"some.csv": b"\0\1\2\n"})
    with pytest.raises(
        UnusableInput, match=r"it holds 'some.csv'; some.csv: binary data"
    ) as refused:
        open_recording(path)
    assert "has the columns" not in str(refused.value)


def test_an_empty_zip_and_an_empty_folder_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (write_zip(tmp_path / "empty.zip", {}), tmp_path / "empty"):
        with pytest.raises(UnusableInput, match="it is empty"):
            open_recording(path)


def a_zip():
    rng = random.Random(0)
    times = [T0 + i * 10_000_000 for i in range(400)]
    rows = "".join(f"{t},1,{rng.random()},{rng.random()},{rng.random()}\n" for t in times)
    buffer = io.BytesIO()
    write_zip(buffer, {"Metadata.csv": IOS, "AccelerometerUncalibrated.csv": HEADER + rows})
    return buffer.getvalue()


A_ZIP = a_zip()


def test_a_truncated_zip_is_refused(tmp_path):
    path = tmp_path / "cut.zip"
    path.write_bytes(A_ZIP[: len(A_ZIP) // 2])
    with pytest.raises(UnusableInput, match=r"cut\.zip: cannot be read"):
        open_recording(path)


@given(
    st.lists(st.tuples(st.integers(0, len(A_ZIP) - 1), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_a_damaged_zip_raises_nothing_but_unusable_input(tmp_path_factory, damage):
    data = bytearray(A_ZIP)
    for at, value in damage:
        data[at] = value
    path = tmp_path_factory.mktemp("damaged") / "damaged.zip"
    path.write_bytes(data)
    try:
        batches = [part for part in parts(open_recording(path)) if isinstance(part, SampleBatch)]
    except UnusableInput as error:
        assert "damaged.zip" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert sum(map(len, batches)) > 0
    assert all(np.isfinite(batch.values).all() for batch in batches)
