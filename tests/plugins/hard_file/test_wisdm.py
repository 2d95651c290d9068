"""WISDM v1.1 and 2019."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write, zipped

T0 = 49_105_962_326_000
STEP = 50_000_000


def line(user, label, k, xyz="0.5,9.5,0.25"):
    return f"{user},{label},{T0 + k * STEP},{xyz};"


def test_v1_1_gives_every_person_a_stream_with_labels(tmp_path):
    lines = [line(33, "Jogging", 0), line(33, "Walking", 1), line(17, "Sitting", 5)]
    lines += [line(33, "Walking", 2)]
    write(tmp_path, {"raw.txt": "\n".join(lines) + "\n"})
    read = Read(tmp_path / "raw.txt")
    assert (read.info.format, read.info.sensors) == ("wisdm", ("accel",))
    assert read.streams == ["raw-33", "raw-17"]
    assert read.t(stream="raw-33") == [T0, T0 + STEP, T0 + 2 * STEP]
    assert read.values(stream="raw-17") == [[0.5, 9.5, 0.25]]
    assert [(n.stream, n.text) for n in read.notes] == [
        ("raw-33", "Jogging"),
        ("raw-33", "Walking"),
        ("raw-17", "Sitting"),
    ]
    assert (read.info.declared["accel"].unit, read.info.clock) == ("m/s2", "relative")


def test_its_broken_lines_are_counted_and_the_others_kept(tmp_path):
    text = (
        line(1, "Walking", 0)
        + "\n"
        + line(1, "Walking", 1, "0.5,9.5,")  # no z
        + "\n"
        + line(1, "Walking", 2, "0.5,9.5,0.25,")  # a comma too many
        + "\n"
        + line(1, "Walking", 3)
        + line(1, "Walking", 4)  # two on one line
        + "\n\n;\n"
        + "1,Walking,0,0,0,3.21;\n"  # no time
        + line(1, "Walking", 5)[:-1]  # no semicolon
        + "\n"
        + line(1, "Walking", 6)[:20]
    )
    write(tmp_path, {"raw.txt": text})
    read = Read(tmp_path / "raw.txt")
    assert [(t - T0) // STEP for t in read.t()] == [0, 3, 4, 5]
    assert read.skipped == {"not_a_number": 1, "wrong_columns": 2, "no_time": 1}


def test_jumps_of_the_phones_clock_are_left_to_conditioning(tmp_path):
    lines = [line(1, "Walking", k) for k in (1000, 1001, 3, 4)]
    write(tmp_path, {"raw.txt": "\n".join(lines)})
    assert [(t - T0) // STEP for t in Read(tmp_path / "raw.txt").t()] == [1000, 1001, 3, 4]


def test_a_start_stands_for_each_persons_first_line(tmp_path):
    lines = [line(1, "Walking", 100), line(1, "Walking", 101), line(2, "Walking", 7)]
    write(tmp_path, {"raw.txt": "\n".join(lines)})
    read = Read(tmp_path / "raw.txt", start="1970-01-01T00:00:01Z")
    assert read.info.clock == "epoch"
    assert read.t(stream="raw-1") == [10**9, 10**9 + STEP]
    assert read.t(stream="raw-2") == [10**9]


def of_2019(sensor, lines, user=1600, device="phone"):
    return {f"raw/{device}/{sensor}/data_{user}_{sensor}_{device}.txt": "\n".join(lines) + "\n"}


ACCEL = [line(1600, "A", 0), line(1600, "A", 1), line(1600, "B", 9000), line(1600, "A", 20000)]
GYRO = [line(1600, "A", 1, "1,2,3"), line(1600, "B", 9000, "4,5,6"), line(1600, "C", 9, "7,8,9")]


@pytest.mark.parametrize("packed", [True, False])
def test_2019_pairs_accelerometer_and_gyroscope_by_activity(tmp_path, packed):
    members = of_2019("accel", ACCEL) | of_2019("gyro", GYRO)
    members |= of_2019("accel", ACCEL[:1], 1601, "watch")
    path = tmp_path / "wisdm"
    read = Read(zipped(path.with_suffix(".zip"), members) if packed else write(path, members))
    assert read.streams == ["1600-phone", "1601-watch"]
    assert read.info.sensors == ("accel", "gyro")
    assert [b.sensor for b in read.batches] == ["accel", "gyro", "accel", "gyro", "accel", "accel"]
    assert read.t("gyro") == [T0 + STEP, T0 + 9000 * STEP]
    assert [text for _, text in read.labels] == ["A", "B", "A", "A"]
    assert read.skipped == {"no_accel": 1}


def test_one_file_of_2019_finds_its_gyroscope_in_the_folder_beside(tmp_path):
    write(tmp_path, of_2019("accel", ACCEL) | of_2019("gyro", GYRO))
    path = tmp_path / "raw/phone/accel/data_1600_accel_phone.txt"
    assert Read(path).info.sensors == ("accel", "gyro")
    (tmp_path / "raw/phone/gyro/data_1600_gyro_phone.txt").unlink()
    assert Read(path).info.sensors == ("accel",)


def test_a_file_without_one_good_line_is_refused(tmp_path):
    write(tmp_path, {"raw.txt": "1,Walking,5,x,y,z;\n"})
    with pytest.raises(UnusableInput, match=r"not one usable row \(1 not_a_number\)"):
        Read(tmp_path / "raw.txt")
    with pytest.raises(UnusableInput, match="format"):
        open_recording(write(tmp_path / "empty", {"readme.txt": "x"}))


@given(st.text('0123456789,;\n-eE.Walking"', max_size=200))
def test_arbitrary_lines_raise_nothing_but_unusable_input(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    write(folder, {"raw.txt": line(1, "Walking", 0) + "\n" + text})
    read = Read(folder / "raw.txt")
    assert read.t()[0] == T0


@given(st.text('0123456789,;\n-eE.Walking"', max_size=200))
def test_arbitrary_lines_of_2019_raise_nothing_either(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any")
    members = of_2019("accel", [line(1600, "A", 0), text]) | of_2019("gyro", [text])
    assert Read(write(folder, members)).t()[0] == T0
