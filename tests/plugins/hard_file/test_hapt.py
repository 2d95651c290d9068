"""HAPT's raw recordings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write, zipped

LABELS = "1 1 5 2 3\n1 1 1 4 4\n2 1 4 1 2\n7 7\n1 1 99 1 2\n"


def rows(*values):
    return "".join(" ".join(map(str, row)) + "\n" for row in values)


ACC = rows((0.5, 0.25, 1.0), (0.25, 0.5, 1.0), (0.0, 0.0, 1.0), (0.125, 0.0, 1.0))
GYRO = rows((1, 2, 3), (4, 5, 6), (7, 8, 9), (1, 1, 1))
MEMBERS = {
    "acc_exp01_user01.txt": ACC,
    "gyro_exp01_user01.txt": GYRO,
    "acc_exp02_user01.txt": ACC,
    "gyro_exp02_user01.txt": GYRO,
    "labels.txt": LABELS,
}


def test_an_experiment_is_its_pair_of_files_with_its_labels(tmp_path):
    read = Read(write(tmp_path, MEMBERS) / "acc_exp01_user01.txt")
    assert read.info.format == "hapt"
    assert read.t() == read.t("gyro") == [0, 20_000_000, 40_000_000, 60_000_000]
    assert read.values()[0] == [0.5, 0.25, 1.0]
    assert read.values("gyro")[2] == [7, 8, 9]
    declared = read.info.declared
    assert (declared["accel"].unit, declared["accel"].sign) == ("g", 1)
    assert (declared["gyro"].unit, declared["accel"].rate_hz) == ("rad/s", 50)
    assert read.labels == [
        (20_000_000, "STANDING"),
        (60_000_000, "WALKING"),
        (80_000_000, ""),
    ]
    assert read.skipped == {"bad_label": 2}


@pytest.mark.parametrize("inside", ["", "RawData/", "HAPT Data Set/RawData/"])
def test_a_zip_gives_every_experiment_as_a_stream(tmp_path, inside):
    members = {inside + name: text for name, text in MEMBERS.items()}
    read = Read(zipped(tmp_path / "hapt.zip", {**members, inside + "extra/x.txt": ""}))
    assert read.streams == ["exp01_user01", "exp02_user01"]
    assert read.t("gyro", "exp02_user01") == [0, 20_000_000, 40_000_000, 60_000_000]
    assert {n.text for n in read.notes if n.stream == "exp02_user01"} == {"SITTING", ""}
    named = Read(tmp_path / "hapt.zip", stream="waist")
    assert named.streams == ["waist-exp01_user01", "waist-exp02_user01"]


def test_a_bad_row_leaves_its_time_empty(tmp_path):
    members = {**MEMBERS, "acc_exp01_user01.txt": ACC.replace("0.25 0.5 1.0", "0.25 oops 1.0")}
    read = Read(write(tmp_path, members) / "acc_exp01_user01.txt")
    assert read.t() == [0, 40_000_000, 60_000_000]
    assert read.t("gyro") == [0, 20_000_000, 40_000_000, 60_000_000]
    assert read.skipped["not_a_number"] == 1


def test_a_start_makes_stamps_and_labels_absolute(tmp_path):
    path = write(tmp_path, MEMBERS) / "acc_exp01_user01.txt"
    read = Read(path, start="1970-01-01T00:00:01Z")
    assert (read.t()[0], read.labels[0]) == (10**9, (1_020_000_000, "STANDING"))


def test_a_missing_gyroscope_file_is_named(tmp_path):
    write(tmp_path, {"acc_exp01_user01.txt": ACC})
    with pytest.raises(UnusableInput, match=r"HAPT needs gyro_exp01_user01\.txt in the same"):
        open_recording(tmp_path / "acc_exp01_user01.txt")


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=60))
def test_arbitrary_members_raise_nothing_but_unusable_input(tmp_path_factory, acc, gyro, labels):
    folder = tmp_path_factory.mktemp("any")
    members = {
        "acc_exp01_user01.txt": ACC.encode() + acc,
        "gyro_exp01_user01.txt": GYRO.encode() + gyro,
        "labels.txt": labels,
    }
    try:
        read = Read(write(folder, members))
    except UnusableInput as error:
        assert "any" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert read.t()[:3] == [0, 20_000_000, 40_000_000]
