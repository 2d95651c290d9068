"""RealWorld: one position during one activity, its gyroscope beside."""

import pytest

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write

T0_MS = 1_435_993_190_541


def rows(n, x, period_ms=20):
    lines = [f"{i + 1},{T0_MS + i * period_ms},{x},9.8,0.5" for i in range(n)]
    return "\n".join(["id,attr_time,attr_x,attr_y,attr_z", *lines]) + "\n"


def test_the_name_says_what_was_done_and_the_twin_is_merged(tmp_path):
    write(
        tmp_path,
        {
            "acc_climbingup_2_waist.csv": rows(10, 1),
            "Gyroscope_climbingup_2_waist.csv": rows(9, 0.1, 25),
        },
    )
    read = Read(tmp_path / "acc_climbingup_2_waist.csv")
    assert (read.info.format, read.info.sensors) == ("realworld", ("accel", "gyro"))
    assert read.t()[:2] == [T0_MS * 10**6, (T0_MS + 20) * 10**6]
    assert len(read.t("gyro")) == 9
    assert {text for _, text in read.labels if text} == {"climbingup"}


def test_without_the_twin_there_is_the_accelerometer_alone(tmp_path):
    write(tmp_path, {"acc_walking_thigh.csv": rows(3, 1)})
    assert Read(tmp_path / "acc_walking_thigh.csv").info.sensors == ("accel",)


def test_the_gyroscopes_file_alone_is_refused(tmp_path):
    write(tmp_path, {"Gyroscope_walking_thigh.csv": rows(3, 1)})
    with pytest.raises(UnusableInput, match="not named acc_ACTIVITY_POSITION"):
        open_recording(tmp_path / "Gyroscope_walking_thigh.csv")


def test_a_time_that_no_clock_shows_is_counted(tmp_path):
    text = rows(2, 1) + f"3,{2**60},1,2,3\n"
    write(tmp_path, {"acc_walking_thigh.csv": text})
    read = Read(tmp_path / "acc_walking_thigh.csv")
    assert len(read.t()) == 2
    assert read.skipped == {"time_out_of_range": 1}
