"""SP-SW-HAR."""

from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.hard_file.reading import Read, write

HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label\n"
T0_MS = 1_657_544_418_323


def recording(folder, *rows):
    return write(folder, {"s11.csv": HEADER + "".join(f"{row}\n" for row in rows)}) / "s11.csv"


def row(ms, label="SEATED"):
    return f"0.5,9.5,0.25,1,2,3,{T0_MS + ms},{label}"


def test_stamps_in_ms_are_kept_even_where_they_repeat(tmp_path):
    rows = [row(0), row(23), row(23, "WALKING"), row(24, "WALKING")]
    read = Read(recording(tmp_path, *rows))
    assert (read.info.format, read.info.clock, read.info.sign) == ("sp_sw_har", "epoch", 1)
    assert read.t() == read.t("gyro") == [(T0_MS + ms) * 1_000_000 for ms in (0, 23, 23, 24)]
    assert read.values()[0] == [0.5, 9.5, 0.25]
    assert read.values("gyro")[3] == [1, 2, 3]
    assert [text for _, text in read.labels] == ["SEATED", "WALKING"]


def test_labels_are_not_repeated_from_block_to_block(tmp_path):
    rows = [row(k, "SEATED" if k < 9_000 else "WALKING") for k in range(25_000)]
    read = Read(recording(tmp_path, *rows))
    assert len(read.batches) > 2
    assert [text for _, text in read.labels] == ["SEATED", "WALKING"]


def test_bad_rows_are_counted(tmp_path):
    bad = ["1,2,3", "x" + row(1), row(1).replace(str(T0_MS + 1), "1.5"), row(10**18)]
    read = Read(recording(tmp_path, row(0), *bad, row(5)))
    assert len(read.t()) == 2
    assert read.skipped == {"wrong_columns": 1, "not_a_number": 2, "time_out_of_range": 1}


@given(st.lists(st.text('0123456789,.-eE"SEATED', max_size=60), max_size=10))
def test_arbitrary_rows_are_read_or_counted(tmp_path_factory, lines):
    read = Read(recording(tmp_path_factory.mktemp("any"), row(0), *lines))
    filled = [line for line in lines if line.strip()]
    assert len(read.t()) - 1 + read.skipped.total() == len(filled)
