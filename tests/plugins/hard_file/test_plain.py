"""The plain CSV."""

import numpy as np
import pytest
from pydantic import ValidationError

from hard.api import Annotation, SampleBatch, UnusableInput
from hard_file import Options, open_recording

XYZ = "accel_x,accel_y,accel_z"
GYRO = "gyro_x,gyro_y,gyro_z"
EPOCH_NS = 1_700_000_000_000_000_001


def write(tmp_path, text, name="walk.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def parts(recording, skip=lambda _reason, _detail: None):
    return [part for message in recording.messages(skip) for part in message]


def stamps(recording):
    return [
        t for part in parts(recording) if isinstance(part, SampleBatch) for t in part.t.tolist()
    ]


def test_columns_are_found_by_name_in_any_order(tmp_path):
    path = write(
        tmp_path,
        "gyro_z,accel_z,accel_x,t_ns,gyro_x,accel_y,gyro_y\n"
        f"0.3,3,1,{EPOCH_NS},0.1,2,0.2\n6,30,10,{EPOCH_NS + 7},4,20,5\n",
    )
    recording = open_recording(path)
    accel, gyro = parts(recording)
    assert recording.info.sensors == ("accel", "gyro")
    assert (recording.info.format, recording.info.clock, recording.info.sign) == (
        "plain",
        "epoch",
        1,
    )
    assert (accel.sensor, gyro.sensor, accel.stream) == ("accel", "gyro", "walk")
    assert accel.t.dtype == np.int64
    assert accel.t.tolist() == gyro.t.tolist() == [EPOCH_NS, EPOCH_NS + 7]
    assert accel.values.dtype == np.float32
    assert accel.values.tolist() == [[1, 2, 3], [10, 20, 30]]
    assert gyro.values.tolist() == np.float32([[0.1, 0.2, 0.3], [4, 5, 6]]).tolist()
    assert (accel.declared.unit, gyro.declared.unit) == ("m/s2", "rad/s")
    assert (accel.declared.max_delay_s, accel.declared.clock) == (0.0, "epoch")


def test_units_and_the_frame_can_be_stated(tmp_path):
    path = write(tmp_path, f"t_ns,{XYZ},{GYRO}\n5,1,2,3,4,5,6\n")
    options = Options(accel_unit="g", gyro_unit="deg/s", platform="ios")
    accel, gyro = parts(open_recording(path, options))
    assert (accel.declared.unit, accel.declared.sign) == ("g", -1)
    assert gyro.declared.unit == "deg/s"
    assert accel.values.tolist() == [[1, 2, 3]]


def test_a_changed_label_is_an_annotation_at_that_samples_time(tmp_path):
    labels = ["", "walking", "walking", "sitting", "", "", "sitting"]
    rows = "".join(f"{i},0,0,9.8,{label}\n" for i, label in enumerate(labels))
    recording = open_recording(write(tmp_path, f"t_ns,{XYZ},label\n{rows}"))
    notes = [part for part in parts(recording) if isinstance(part, Annotation)]
    assert [(note.t, note.text) for note in notes] == [
        (1, "walking"),
        (3, "sitting"),
        (4, ""),
        (6, "sitting"),
    ]
    assert {note.stream for note in notes} == {"walk"}


def test_labels_are_not_repeated_where_one_block_ends_and_the_next_begins(tmp_path):
    rows = "".join(f"{i},0,0,9.8,{'run' if i >= 9000 else 'walk'}\n" for i in range(120_000))
    recording = open_recording(write(tmp_path, f"t_ns,{XYZ},label\n{rows}"))
    messages = list(recording.messages())
    notes = [part for message in messages for part in message if isinstance(part, Annotation)]
    assert len(messages) > 2
    assert [(note.t, note.text) for note in notes] == [(0, "walk"), (9000, "run")]


def test_small_seconds_count_from_the_start_and_are_declared_relative(tmp_path):
    recording = open_recording(write(tmp_path, f"t_s,{XYZ}\n-0.5,0,0,9.8\n0.02,0,0,9.8\n"))
    assert recording.info.clock == "relative"
    assert stamps(recording) == [-500_000_000, 20_000_000]


def test_seconds_since_the_epoch_are_recognised(tmp_path):
    recording = open_recording(write(tmp_path, f"t_s,{XYZ}\n1700000000.25,0,0,9.8\n"))
    assert recording.info.clock == "epoch"
    assert stamps(recording) == [1_700_000_000_250_000_000]


def test_a_rate_gives_stamps_and_a_bad_row_keeps_its_place(tmp_path):
    path = write(tmp_path, f"{XYZ}\n1,0,9.8\n2,oops,9.8\n\n3,0,9.8\n")
    recording = open_recording(path, Options(rate_hz=30))
    assert recording.info.clock == "relative"
    assert stamps(recording) == [0, round(2e9 / 30)]


def test_a_start_makes_relative_stamps_absolute(tmp_path):
    options = Options(rate_hz=50, start="1970-01-01T01:00:02.5+01:00")
    recording = open_recording(write(tmp_path, f"{XYZ}\n1,0,9.8\n2,0,9.8\n"), options)
    assert recording.info.clock == "epoch"
    assert stamps(recording) == [2_500_000_000, 2_520_000_000]


def test_a_time_column_wins_over_rate_and_start(tmp_path):
    options = Options(rate_hz=50, start="2024-01-01T00:00:00Z")
    recording = open_recording(write(tmp_path, f"t_ns,{XYZ}\n7,1,0,9.8\n"), options)
    assert stamps(recording) == [7]


def test_seconds_beyond_64_bit_nanoseconds_are_counted(tmp_path):
    path = write(tmp_path, f"t_s,{XYZ}\n0,0,0,9.8\n1e12,0,0,9.8\n1e29,0,0,9.8\n1,0,0,9.8\n")
    said = []
    parts(open_recording(path), lambda reason, _detail: said.append(reason))
    assert said == ["time_out_of_range", "time_out_of_range"]
    assert stamps(open_recording(path)) == [0, 1_000_000_000]


def test_stamps_running_backwards_are_left_to_conditioning(tmp_path):
    rows = "".join(f"{t},0,0,9.8\n" for t in (5, 9, 3, 9))
    assert stamps(open_recording(write(tmp_path, f"t_ns,{XYZ}\n{rows}"))) == [5, 9, 3, 9]


def test_extra_columns_are_named_in_the_info(tmp_path):
    recording = open_recording(write(tmp_path, f"t_ns,{XYZ},magnet_x,note\n1,0,0,9.8,4,hello\n"))
    assert recording.info.ignored == ("magnet_x", "note")
    assert stamps(recording) == [1]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("t_ns,accel_x,accel_y", "lacks the columns 'accel_z'; found 't_ns', 'accel_x', 'accel_y'"),
        (f"t_ns,{XYZ},gyro_x", "lacks the columns 'gyro_y', 'gyro_z'"),
        (XYZ, "no time column t_ns or t_s .*give the sampling rate as rate_hz"),
    ],
)
def test_a_header_without_what_is_needed_is_refused(tmp_path, header, why):
    path = write(tmp_path, f"{header}\n" + ",".join("1" for _ in header.split(",")) + "\n")
    with pytest.raises(UnusableInput, match=why):
        open_recording(path, Options(format="plain"))


@pytest.mark.parametrize("rows", ["", "nan,0,0,0\n", "1,2\n", "x,1,2,3\n\n\n"])
def test_a_file_without_one_good_row_is_refused_before_anything_comes(tmp_path, rows):
    recording = open_recording(write(tmp_path, f"t_ns,{XYZ}\n{rows}"))
    came = []
    with pytest.raises(UnusableInput, match=r"walk\.csv: not one usable row"):
        came.extend(message for message in recording.messages() if message)
    assert came == []


def test_a_recording_can_be_read_again(tmp_path):
    recording = open_recording(write(tmp_path, f"t_ns,{XYZ}\n1,0,0,9.8\n"))
    assert stamps(recording) == stamps(recording) == [1]


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("walk 1 (home).csv", "walk-1-home"),
        ("a" * 90 + ".csv", "a" * 64),
        ("日本.csv", "file"),
        ("sub_1.csv", "sub_1"),
    ],
)
def test_the_stream_is_named_after_the_file(tmp_path, name, stream):
    path = write(tmp_path, f"t_ns,{XYZ}\n1,0,0,9.8\n", name)
    assert open_recording(path).stream == stream
    assert open_recording(path, Options(stream="phone-1")).stream == "phone-1"


@pytest.mark.parametrize("start", ["yesterday", "2024-01-01T00:00:00", "1969-12-31T00:00:00Z"])
def test_a_start_without_zone_or_sense_is_a_configuration_error(start):
    with pytest.raises(ValidationError, match="not an RFC 3339 time"):
        Options(start=start)


@pytest.mark.parametrize(("step", "unit"), [(20, "milliseconds"), (5000, "microseconds")])
def test_stamps_of_another_unit_are_told(tmp_path, step, unit):
    rows = "".join(f"{1_700_000_000_000 + step * i},0,0,9.8\n" for i in range(100))
    with pytest.raises(UnusableInput, match=f"t_ns looks like {unit}: it grows by {step} a row"):
        parts(open_recording(write(tmp_path, f"t_ns,{XYZ}\n{rows}")))
