"""Which format a file has, and what is said when it has none."""

import gzip
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file import Options, open_recording

PLAIN = "t_ns,accel_x,accel_y,accel_z\n1,0,0,9.8\n"


def write(tmp_path, data, name="some.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_the_content_decides_and_not_the_name(tmp_path):
    recording = open_recording(write(tmp_path, PLAIN, "walk.zip"))
    assert recording.info.format == "plain"
    assert recording.info.reason == (
        "the header names accel_x, accel_y, accel_z; in m/s2, "
        "Android sign, as nothing else is configured"
    )


def test_a_stated_format_must_fit(tmp_path):
    path = write(tmp_path, PLAIN)
    assert open_recording(path, Options(format="plain")).info.format == "plain"
    for stated in ("motionsense", "sensor_logger"):
        with pytest.raises(UnusableInput, match=f"not {stated}: its header names 't_ns'"):
            open_recording(path, Options(format=stated))
    with pytest.raises(UnusableInput, match='format = "plain" is one CSV file'):
        open_recording(tmp_path, Options(format="plain"))


def test_an_unknown_header_is_named_with_what_is_needed(tmp_path):
    path = write(tmp_path, '"Time (s)","Acceleration x (m/s^2)"\n1,2\n')
    with pytest.raises(UnusableInput, match=r"unknown format: its header names 'Time \(s\)', 'Acc"):
        open_recording(path)


def test_a_long_header_is_cut_in_the_message(tmp_path):
    path = write(tmp_path, ",".join(f"column{i}" + "x" * 500 for i in range(90)) + "\n1\n")
    with pytest.raises(UnusableInput, match="and 78 more") as refused:
        open_recording(path)
    assert len(str(refused.value)) < 1500


def test_one_file_of_a_sensor_logger_export_is_refused_with_the_remedy(tmp_path):
    path = write(tmp_path, "time,seconds_elapsed,z,y,x\n1,0,1,2,3\n", "Accelerometer.csv")
    with pytest.raises(UnusableInput, match="give the export's folder or zip"):
        open_recording(path)


def test_a_missing_file_a_pipe_and_a_useless_folder_are_refused(tmp_path):
    with pytest.raises(UnusableInput, match=r"gone\.csv: no such file"):
        open_recording(tmp_path / "gone.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableInput, match="pipe: not a regular file"):
        open_recording(tmp_path / "pipe")
    with pytest.raises(UnusableInput, match="an unknown format: it holds 'pipe'"):
        open_recording(tmp_path)


@given(st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", PLAIN.encode()]), st.binary(max_size=80))
def test_arbitrary_files_raise_nothing_but_unusable_input(tmp_path_factory, start, data):
    path = write(tmp_path_factory.mktemp("any"), start + data)
    try:
        messages = list(open_recording(path).messages())
    except UnusableInput as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - either outcome is right
        return
    assert any(messages)


def test_what_gzip_packed_is_read_as_it_was(tmp_path):
    recording = open_recording(write(tmp_path, gzip.compress(PLAIN.encode()), "walk.csv.gz"))
    assert (recording.info.format, recording.stream) == ("plain", "walk")
    (message,) = filter(None, recording.messages())
    assert message[0].t.tolist() == [1]
    cut = write(tmp_path, gzip.compress(PLAIN.encode())[:-12], "cut.csv.gz")
    with pytest.raises(UnusableInput, match=r"cut\.csv\.gz: cannot be read"):
        list(open_recording(cut).messages())


@pytest.mark.parametrize(
    ("stated", "why"),
    [("hapt", "not hapt: it is phyphox"), ("plain", 'format = "plain" is one CSV file')],
)
def test_a_zip_of_another_format_than_stated_is_refused_by_name(tmp_path, stated, why):
    path = tmp_path / "walk.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta/device.csv", "property,value\n")
        archive.writestr("Raw Data.csv", "x\n")
    with pytest.raises(UnusableInput, match=why):
        open_recording(path, Options(format=stated))
