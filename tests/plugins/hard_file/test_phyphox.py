"""phyphox exports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write, zipped

HEADER = ["Time (s)", "Acceleration x (m/s^2)", "Acceleration y (m/s^2)", "Acceleration z (m/s^2)"]
ROWS = [[0.005, 0.5, -1.25, 9.75], [0.015, -0.5, 1.5, 9.5]]
CLOCK = [
    ["event", "experiment time", "system time", "system time text"],
    ["START", "0.000000000000000E0", "1.681510296079174E9", "2023-04-14 18:11:36.079 UTC-04:00"],
    ["PAUSE", "1.000000000000000E1", "1.681510306079174E9", "2023-04-14 18:11:46.079 UTC-04:00"],
]
FORMATS = {
    "comma, point": (",", "."),
    "tab, point": ("\t", "."),
    "semicolon, point": (";", "."),
    "tab, comma": ("\t", ","),
    "semicolon, comma": (";", ","),
}


def table(header, rows, separator=",", mark=".", quote='"', bom=""):
    lines = [separator.join(f"{quote}{name}{quote}" for name in header)]
    for row in rows:
        cells = (x if isinstance(x, str) else f"{x:.9E}" for x in row)
        lines.append(separator.join(cell.replace(".", mark) for cell in cells))
    return bom + "\n".join(lines) + "\n"


@pytest.mark.parametrize("bom", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"], ids=["", "bom"])
@pytest.mark.parametrize("quote", ['"', ""], ids=["quoted", "bare"])
@pytest.mark.parametrize(("separator", "mark"), FORMATS.values(), ids=FORMATS)
def test_all_number_formats_read_the_same(tmp_path, separator, mark, quote, bom):
    members = {
        "Raw Data.csv": table(HEADER, ROWS, separator, mark, quote, bom),
        "meta/time.csv": table(CLOCK[0], CLOCK[1:], separator, mark, quote, bom),
    }
    read = Read(zipped(tmp_path / "walk.zip", members))
    began = 1_681_510_296_079_174_000
    assert read.info.format == "phyphox"
    assert read.t() == [began + 5_000_000, began + 15_000_000]
    assert read.values() == [row[1:] for row in ROWS]
    assert (read.info.declared["accel"].unit, read.info.sign, read.info.clock) == (
        "m/s2",
        1,
        "epoch",
    )


def test_a_csv_alone_counts_from_the_experiments_start(tmp_path):
    write(tmp_path, {"walk.csv": table(HEADER, ROWS, ";", ",")})
    read = Read(tmp_path / "walk.csv")
    assert (read.info.clock, read.t()) == ("relative", [5_000_000, 15_000_000])
    later = Read(tmp_path / "walk.csv", start="1970-01-01T00:00:01Z")
    assert (later.info.clock, later.t()) == ("epoch", [1_005_000_000, 1_015_000_000])


def test_every_start_after_a_pause_maps_what_follows_it(tmp_path):
    clock = [
        ["START", "0.0", "100.0", "text"],
        ["PAUSE", "10.0", "110.0", "text"],
        ["START", "10.0", "170.0", "text"],
        ["broken", "x", "y"],
        ["START", "oops", "1", "text"],
    ]
    rows = [[t, 0.0, 0.0, 9.75] for t in (0.5, 9.5, 10.5)]
    members = {
        "Raw Data.csv": table(HEADER, rows),
        "meta/time.csv": table(CLOCK[0], clock),
    }
    read = Read(write(tmp_path / "walk", members))
    assert read.t() == [100_500_000_000, 109_500_000_000, 170_500_000_000]


def sensor(what, unit="m/s^2", rows=ROWS):
    header = ["Time (s)", *(f"{what} {axis} ({unit})".strip() for axis in "xyz")]
    return table(header, rows)


def test_one_csv_a_sensor_is_merged_by_time(tmp_path):
    gyro = [[0.01, 0.5, 0.25, 0.125]]
    members = {
        "Accelerometer.csv": sensor("Acceleration"),
        "Gyroscope.csv": sensor("Gyroscope", "rad/s", gyro),
        "Linear Accelerometer.csv": sensor("Linear Acceleration"),
        "meta/device.csv": "property,value\n",
    }
    read = Read(zipped(tmp_path / "walk.zip", members))
    assert read.info.sensors == ("accel", "gyro")
    assert read.info.ignored == ("Linear Accelerometer.csv: linear_accel",)
    assert (read.t("gyro"), read.values("gyro")) == ([10_000_000], [gyro[0][1:]])


def test_columns_named_by_axis_alone_belong_to_the_files_sensor(tmp_path):
    header = ["Time (s)", "X (m/s^2)", "Y (m/s^2)", "Z (m/s^2)", "Absolute (m/s^2)"]
    rows = [[*row, 9.8] for row in ROWS]
    members = {"Accelerometer.csv": table(header, rows), "meta/device.csv": "property,value\n"}
    assert Read(zipped(tmp_path / "walk.zip", members)).values() == [row[1:] for row in ROWS]


def test_linear_acceleration_with_gravity_beside_is_enough(tmp_path):
    members = {
        "Linear Accelerometer.csv": sensor("Linear Acceleration"),
        "Gravity.csv": sensor("Gravity"),
    }
    read = Read(write(tmp_path / "walk", members))
    assert read.info.sensors == ("linear_accel", "gravity")


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"Raw Data.csv": sensor("Linear Acceleration")}, "holds only 'Linear Acceleration x"),
        ({"Raw Data.csv": sensor("Gyroscope", "rad/s")}, "holds only 'Gyroscope x"),
        ({"Raw Data.csv": table(["Time (s)", "a", "b", "c"], ROWS)}, "holds no accelerometer"),
    ],
)
def test_an_export_without_gravity_is_refused_by_name(tmp_path, members, why):
    with pytest.raises(UnusableInput, match=f"phyphox that {why}.*gravity is missing"):
        open_recording(zipped(tmp_path / "walk.zip", members))


def test_an_excel_export_is_refused_with_the_remedy(tmp_path):
    xlsx = zipped(tmp_path / "walk.xlsx", {"[Content_Types].xml": "<xml/>"})
    write(tmp_path, {"walk.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"})
    for path in (xlsx, tmp_path / "walk.xls"):
        with pytest.raises(UnusableInput, match="an Excel workbook; export it as CSV"):
            open_recording(path)


def test_bad_rows_and_impossible_times_are_counted(tmp_path):
    rows = [
        ROWS[0],
        ["NaN", "0.0", "0.0", "9.75"],
        ["1e12", "0.0", "0.0", "9.75"],
        ["1.0"],
        ROWS[1],
    ]
    write(tmp_path, {"walk.csv": table(HEADER, rows)})
    read = Read(tmp_path / "walk.csv")
    assert read.t() == [5_000_000, 15_000_000]
    assert read.skipped == {"not_finite": 1, "time_out_of_range": 1, "wrong_columns": 1}


@given(
    st.lists(st.text("0123456789.,;\t-eE\"\n'x", max_size=40), max_size=8),
    st.sampled_from(list(FORMATS.values())),
)
def test_arbitrary_rows_raise_nothing_but_unusable_input(tmp_path_factory, lines, form):
    folder = tmp_path_factory.mktemp("any")
    text = table(HEADER, ROWS[:1], *form) + "\n".join(lines)
    write(folder, {"walk.csv": text})
    try:
        read = Read(folder / "walk.csv")
    except UnusableInput as error:
        assert "walk.csv" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert len(read.t()) >= 1
