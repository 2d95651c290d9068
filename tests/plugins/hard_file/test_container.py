"""Zips and folders of several files: damage, wrapping, size."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file.container import opened_folder, search
from tests.plugins.hard_file.reading import Read, write, zipped

GYRO = "1 2 3\n" * 50
ACC = "0.5 0.25 1.0\n" * 50
WINDOW = " 1.0" * 128 + "\n"
SETS = {
    "phyphox": {
        "Raw Data.csv": '"Time (s)","Acceleration x (m/s^2)","Acceleration y (m/s^2)",'
        '"Acceleration z (m/s^2)"\n' + "".join(f"{k / 100},0,0,9.8\n" for k in range(100)),
        "meta/time.csv": '"event","experiment time","system time"\n"START",0,1E9\n',
    },
    "hapt": {
        "acc_exp01_user01.txt": ACC,
        "gyro_exp01_user01.txt": GYRO,
        "labels.txt": "1 1 1 1 9\n",
    },
    "uci_har": {
        f"train/Inertial Signals/{kind}_{axis}_train.txt": WINDOW * 3
        for kind in ("total_acc", "body_gyro")
        for axis in "xyz"
    },
    "wisdm": {
        f"raw/phone/{sensor}/data_1600_{sensor}_phone.txt": "".join(
            f"1600,A,{k * 50_000_000},0.5,9.5,0.25;\n" for k in range(1, 99)
        )
        for sensor in ("accel", "gyro")
    },
}


@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("inside", ["", "one/", "__MACOSX/../one/two/"])
def test_a_folder_and_a_zip_read_the_same_however_they_are_wrapped(tmp_path, form, inside):
    members = {inside.replace("__MACOSX/../", "") + k: text for k, text in SETS[form].items()}
    packed = Read(zipped(tmp_path / "some.zip", members), stream="some")
    plain = Read(write(tmp_path / "some", members), stream="some")
    assert packed.info.format == plain.info.format == form
    assert packed.streams == plain.streams
    assert packed.t() == plain.t()
    assert packed.values() == plain.values()


@pytest.mark.parametrize("form", SETS)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1))
def test_a_damaged_zip_raises_nothing_but_unusable_input(tmp_path_factory, form, damage):
    path = zipped(tmp_path_factory.mktemp("damaged") / "damaged.zip", SETS[form])
    data = bytearray(path.read_bytes())
    for at, value in damage:
        data[int(at * len(data))] = value
    path.write_bytes(data)
    try:
        read = Read(path)
    except UnusableInput as error:
        assert "damaged.zip" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert read.batches


def test_a_folder_of_very_many_files_is_not_searched_through(tmp_path):
    path = zipped(tmp_path / "many.zip", {f"{k}.txt": "" for k in range(20_001)})
    with (
        opened_folder(path) as folder,
        pytest.raises(UnusableInput, match="holds more than 20000 files"),
    ):
        search(folder, re.compile("x"))
