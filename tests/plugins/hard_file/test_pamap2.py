"""PAMAP2: three IMUs a line, lost readings, labels by number."""

import pytest

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write


def line(t_s, activity, hand=1.0, chest=2.0, ankle="3.0"):
    """One line; each IMU's accelerometer reads (value, 9.8, 0), its gyroscope (0.1, 0, value)."""
    imus = [f"30 {x} 9.8 0 9 9 9 0.1 0 {x} 1 2 3 1 0 0 0" for x in (hand, chest, ankle)]
    return f"{t_s:.2f} {activity} NaN " + " ".join(imus)


def test_each_position_is_a_stream_with_the_16_g_accelerometer(tmp_path):
    lines = [line(8.38 + 0.01 * k, 4) for k in range(3)]
    write(tmp_path, {"subject101.dat": "\n".join(lines) + "\n"})
    read = Read(tmp_path / "subject101.dat")
    assert (read.info.format, read.info.sensors) == ("pamap2", ("accel", "gyro"))
    assert read.streams == ["subject101-hand", "subject101-chest", "subject101-ankle"]
    assert read.t(stream="subject101-chest") == [8_380_000_000, 8_390_000_000, 8_400_000_000]
    assert read.values(stream="subject101-chest")[0] == pytest.approx([2, 9.8, 0])
    assert read.values("gyro", stream="subject101-ankle")[0] == pytest.approx([0.1, 0, 3])
    assert {n.text for n in read.notes} == {"walking"}


def test_what_one_imu_lost_is_left_out_of_it_alone_and_counted(tmp_path):
    lines = [line(0.0, 1), line(0.01, 1, ankle="NaN"), line(0.02, 0)]
    write(tmp_path, {"subject105.dat": "\n".join(lines) + "\n\n"})
    read = Read(tmp_path / "subject105.dat")
    assert read.skipped == {"not_finite": 1}
    assert len(read.t(stream="subject105-ankle")) == 2
    assert len(read.t(stream="subject105-hand")) == 3
    of_hand = [(n.t, n.text) for n in read.notes if n.stream == "subject105-hand"]
    assert of_hand == [(0, "lying"), (20_000_000, "")]


def test_a_line_cut_short_is_counted_and_the_others_kept(tmp_path):
    lines = [line(0.0, 4), line(0.01, 4)[:60], "x " * 54, line(0.02, 4), "nan" + line(0.03, 4)[4:]]
    write(tmp_path, {"subject101.dat": "\n".join(lines)})
    read = Read(tmp_path / "subject101.dat")
    assert read.t() == [0, 20_000_000]
    assert read.skipped == {"bad_row": 2}


def test_another_number_of_columns_is_no_pamap2(tmp_path):
    write(tmp_path, {"subject101.dat": line(0.0, 4) + " 7\n"})
    with pytest.raises(UnusableInput, match="PAMAP2"):
        open_recording(tmp_path / "subject101.dat")
