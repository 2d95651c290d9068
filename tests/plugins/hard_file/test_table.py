"""The CSV table: whatever the path through it and the block size, the same rows."""

import io
import math
import sys
import tracemalloc
from decimal import Decimal, InvalidOperation

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file.table import LARGEST, MAX_LINE_BYTES, Columns, CsvFile

HEADER = b"t,x,note,y,label\n"
COLUMNS = Columns(values=("y", "x"), time="t", label="label")
NUMBERS_ONLY = Columns(values=("y", "x"), time="t")


def read(text, columns=COLUMNS, block_bytes=256 * 1024):
    """Return row numbers, times, values and labels of all good rows, and the skipped reasons."""
    skipped = []
    file = CsvFile(io.BytesIO(text), "some.csv")
    parts = list(
        file.rows(columns, lambda reason, _detail: skipped.append(reason), block_bytes=block_bytes)
    )
    rows = np.concatenate([part.row for part in parts]).tolist()
    times = np.concatenate([part.t for part in parts]).tolist()
    values = np.concatenate([part.values for part in parts]).tolist()
    labels = [label for part in parts for label in part.labels or ()]
    return rows, times, values, labels, skipped


def whole(number):
    """Read an integer, which may be written 12.0 or 1e3; 2**64 stands for all that are larger."""
    try:
        value = Decimal(number.decode("ascii"))
    except InvalidOperation:
        raise ValueError(number) from None
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(number)
    # 1e99999999999 has more digits than there is memory.
    return int(max(min(value, Decimal(2**64)), Decimal(-(2**64))))


def plain_reading(line):
    """Read one unquoted line of HEADER's columns with nothing but Python: a row, or a reason."""
    fields = line.split(b",")
    if len(fields) != 5:
        return "wrong_columns"
    row = []
    for number, kind in ((fields[0], whole), (fields[3], float), (fields[1], float)):
        try:
            row.append(kind(number))
        except ValueError:
            return "not_a_number"
        if b"_" in number:
            return "not_a_number"
        if kind is whole and not -(2**63) <= row[0] < 2**63:
            return "time_out_of_range"
        if kind is float and (math.isnan(row[-1]) or abs(row[-1]) > LARGEST):
            return "not_finite"
    return row[0], row[1:], fields[4].decode().strip()


good_numbers = st.one_of(
    st.floats(-100, 100).map(lambda x: repr(x).encode()),
    st.floats(-100, 100).map(lambda x: b"%.6f" % x),
    st.integers(-(10**20), 10**20).map(lambda x: b"%d" % x),
)
odd_numbers = st.sampled_from(
    [
        *(b"1e400", b"-1e31", b"0x10", b"nan", b"NaN", b"Infinity", b"-inf", b"1_0", b"+5", b".5"),
        *(b"5.", b"01", b"-0", b"-0.0", b" 7 ", b"", b" ", b"-", b"true", b"null", b"[1]", b"1 2"),
        *(b"1e5", b"1E-5", b"caf\xc3\xa9", b"\xd9\xa3", b"1\r", b"{}", b"9" * 400),
    ]
)
times = st.one_of(
    st.integers(1_700_000_000_000_000_000, 1_700_000_100_000_000_000).map(lambda t: b"%d" % t),
    st.sampled_from([b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808"]),
    st.sampled_from([b"1.0", b"1e3", b"1.5", b"-5", b"x", b"true", b"1_0", b" 12", b"12\r", b""]),
)
words = st.sampled_from([b"walking", b"", b" sitting ", b"caf\xc3\xa9", b"true", b"7"])
fields = st.tuples(times, good_numbers | odd_numbers, words, good_numbers | odd_numbers, words)
regular_fields = st.tuples(
    st.integers(0, 2**63 - 1).map(lambda t: b"%d" % t), good_numbers, words, good_numbers, words
)
lines = st.one_of(
    regular_fields.map(b",".join),
    fields.map(b",".join),
    st.lists(words | good_numbers, max_size=8).map(b",".join),
    st.sampled_from([b"", b"\r", b"  "]),
)


@given(st.lists(lines, max_size=12), st.booleans(), st.integers(1, 400))
def test_every_path_and_block_size_reads_what_plain_python_reads(
    table, ends_with_newline, block_bytes
):
    table = [b"1,0.5,n,2.5,l", *table]  # as without it decimal commas would be suspected
    text = HEADER + b"\n".join(table) + b"\n" * ends_with_newline
    expected = [plain_reading(line) for line in table if line.strip()]
    good = [(i, row) for i, row in enumerate(expected) if not isinstance(row, str)]
    rows, times_ns, values, labels, skipped = read(text, block_bytes=block_bytes)
    assert rows == [i for i, _ in good]
    assert times_ns == [row[0] for _, row in good]
    assert values == [row[1] for _, row in good]
    assert labels == [row[2] for _, row in good]
    assert skipped == [row for row in expected if isinstance(row, str)]


@given(st.lists(regular_fields, min_size=1, max_size=20))
def test_a_block_read_at_once_and_row_by_row_gives_the_same(table):
    at_once = HEADER + b"".join(b",".join(row) + b"\n" for row in table)
    by_row = at_once + b'"'  # a quote sends the block to the careful path
    *rows, skipped = read(at_once)
    assert read(by_row) == (*rows, [*skipped, "wrong_columns"])


@given(st.binary(max_size=300), st.integers(1, 64))
@example(b'a,b\n"', 1)
@example(b"\xef\xbb\xbf", 1)
@example(b'"a\r",b\n1,2', 3)
def test_arbitrary_bytes_raise_nothing_but_unusable_input(data, block_bytes):
    try:
        file = CsvFile(io.BytesIO(data), "some.csv")
    except UnusableInput as error:
        assert str(error).startswith("some.csv: ")  # noqa: PT017 - either outcome is right
        return
    columns = Columns(values=file.header[1:2], time=file.header[0])
    for rows in file.rows(columns, lambda _reason, _detail: None, block_bytes=block_bytes):
        assert len(rows.row) == len(rows.t) == len(rows.values)


@given(st.binary(max_size=200), st.integers(1, 64))
def test_arbitrary_rows_raise_nothing_and_do_not_depend_on_the_block_size(data, block_bytes):
    text = b"t,x,note,y,label\n1,2,3,4,5\n" + data
    try:
        whole = read(text)
    except UnusableInput as error:
        assert "some.csv" in str(error)  # noqa: PT017 - binary data in the first 64 KiB
        return
    assert read(text, block_bytes=block_bytes) == whole


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.booleans())
@example([1700000000000000499, 1700000000000000501, 4611686018427387903], False)
def test_times_stay_exact_whatever_stands_beside_them(stamps, carefully):
    text = HEADER + b"".join(b"%d,1,n,2,l\n" % t for t in stamps) + b'"\n' * carefully
    assert read(text)[1] == stamps
    no_label = HEADER + b"".join(b"%d,1,0,2,0\n" % t for t in stamps) + b'"\n' * carefully
    assert read(no_label, NUMBERS_ONLY)[1] == stamps


@given(
    st.lists(
        st.one_of(
            st.integers(1_704_000_000_000_000_000, 1_705_100_000_000_000_000).map(b"%d".__mod__),
            st.text("0123456789.e+ ", min_size=15, max_size=15).map(lambda x: b"1704" + x.encode()),
            st.text("0123456789,", min_size=15, max_size=15).map(lambda x: b"1704" + x.encode()),
            st.integers(0, 2**63).map(b"%d".__mod__),
        ),
        max_size=6,
    )
)
@example([b"1704067         000"])
@example([b"1704067            "])
@example([b"1704067200000000.00"])
@example([b"17040672.0000001e11"])
@example([b"1704067200000000.5,"])
@example([b"170419e94184949074"])
def test_what_looks_like_a_long_time_is_read_as_plain_python_reads_it(stamps):
    table = [b"%b,0.5,n,2.5,l" % stamp for stamp in [b"1704067200000000000", *stamps]]
    expected = [plain_reading(line) for line in table]
    rows, times_ns, *_, skipped = read(HEADER + b"\n".join(table), NUMBERS_ONLY)
    assert rows == [i for i, row in enumerate(expected) if not isinstance(row, str)]
    assert times_ns == [row[0] for row in expected if not isinstance(row, str)]
    assert skipped == [row for row in expected if isinstance(row, str)]


def test_numbers_are_rounded_as_python_rounds_them():
    texts = [
        b"0.1",
        b"2.5914330000000003",
        b"-0.8262786865234375",
        b"1e-320",
        b"123456789012345678",
    ]
    text = HEADER + b"".join(b"1,%b,n,0,l\n" % number for number in texts)
    assert [x for _, x in read(text)[2]] == [float(number) for number in texts]


def test_quotes_carriage_returns_spaces_blank_lines_and_a_byte_order_mark_are_fine():
    text = (
        b'\xef\xbb\xbf"t", "x", note, y, label\r\n'
        b'1, "0.5", "a, b", 2, "walking, fast"\r\n'
        b"\r\n"
        b"2, 1.5, c, 3, sitting"
    )
    rows, times_ns, values, labels, skipped = read(text)
    assert (rows, times_ns) == ([0, 1], [1, 2])
    assert values == [[2.0, 0.5], [3.0, 1.5]]
    assert labels == ["walking, fast", "sitting"]
    assert skipped == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \t\n"])
@pytest.mark.parametrize("block_bytes", [100, 64 * 1024])
def test_blank_lines_in_any_number_leave_rows_and_their_numbers_as_they_are(end, block_bytes):
    rows = (b"1,0.5,n,2,l", b"bad", b"3,0.5,n,2,l")
    text = HEADER + b"".join(end * 1000 + row + end for row in rows) + end * 1000
    found, times_ns, _, _, skipped = read(text, block_bytes=block_bytes)
    assert (found, times_ns) == ([0, 2], [1, 3])
    assert skipped == ["wrong_columns"]


EPOCH = b"1704067200%09d"
STAMPED = Columns(values=("x", "y"), time="t")


@pytest.mark.parametrize("bad", [b"1", b"17", b"170", b"1704", b"", b",", b"1704067200000000000"])
def test_a_row_cut_off_behind_stamps_of_the_epoch_is_left_out(bad):
    rows = [EPOCH % n + b",1.5,2.5" for n in range(3)]
    text = b"t,x,y\n" + b"\n".join([*rows, bad, b""])
    assert read(text, STAMPED)[1] == [1704067200 * 10**9 + n for n in range(3)]


def test_a_row_too_short_is_not_made_up_by_one_too_long():
    rows = [b",1.5,2.5", b",1.5", b",1.5,2.5,3.5", b",1.5,2.5"]
    text = b"t,x,y\n" + b"".join(EPOCH % n + row + b"\n" for n, row in enumerate(rows))
    found, _, _, _, skipped = read(text, STAMPED)
    assert found == [0, 3]
    assert skipped == ["wrong_columns"] * 2


def test_a_number_as_high_as_a_stamp_moves_no_column():
    text = b"t,x,y\n" + b"".join(EPOCH % n + b",1.5e18,2\n" for n in range(2))
    _, _, values, _, _ = read(text, STAMPED)
    assert values == [[1.5e18, 2.0]] * 2


def test_what_stands_in_an_ignored_column_does_no_harm():
    assert read(HEADER + b"1,2,nan,4,l\n2,3,,5,l\n", NUMBERS_ONLY)[1] == [1, 2]


@pytest.mark.parametrize("block_bytes", [1000, 64 * 1024, 256 * 1024])
def test_a_line_longer_than_64_kib_is_counted_and_the_next_row_kept(block_bytes):
    just_right = b"1,0.%b,n,2,l" % (b"5" * (MAX_LINE_BYTES - 10))
    assert len(just_right) == MAX_LINE_BYTES
    just_too_long = just_right.replace(b"n", b"nn")
    text = HEADER + b"\n".join([b"0,1,n,2,l", just_right, just_too_long, b"3,1,n,2,l", b""])
    rows, times_ns, _, _, skipped = read(text, block_bytes=block_bytes)
    assert rows == [0, 1, 3]
    assert times_ns == [0, 1, 3]
    assert skipped == ["long_line"]


class EndlessLine(io.RawIOBase):
    """A header and a good row, then one line of many megabytes that exists nowhere."""

    def __init__(self, size):
        self.start = HEADER + b"1,2,n,3,l\n" + b"5" * MAX_LINE_BYTES
        self.left = size

    def read(self, n=-1):
        start, self.start = self.start[:n], self.start[n:]
        self.left -= n
        return start or (b"5" * n if self.left > 0 else b"")


def test_a_huge_later_line_is_never_held_in_memory():
    file = CsvFile(EndlessLine(64_000_000), "some.csv")
    skipped = []
    tracemalloc.start()
    try:
        n = sum(len(rows) for rows in file.rows(COLUMNS, lambda *what: skipped.append(what[0])))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (n, skipped) == (1, ["long_line"])
    assert peak_bytes < 4_000_000


def test_a_file_that_is_one_endless_line_is_refused_unread():
    class Countless(io.RawIOBase):
        asked = 0

        def read(self, n=-1):
            self.asked += n
            return b"5" * n

    endless = Countless()
    with pytest.raises(UnusableInput, match="no line ends within its first 65536 bytes"):
        CsvFile(endless, "some.csv")
    assert endless.asked == MAX_LINE_BYTES


def test_a_text_that_is_not_utf_8_far_down_the_file_is_kept_as_far_as_it_goes():
    text = HEADER + b"1,2,n,3,l\n" * 10_000 + b"2,2,n,3,caf\xe9\n"
    assert read(text)[3][-1] == "caf\N{REPLACEMENT CHARACTER}"


def test_a_skipped_row_is_named_with_its_number_and_what_was_wrong():
    said = []
    file = CsvFile(io.BytesIO(HEADER + b"1,2,n,3,l\n1,oops,n,3,l\n"), "some.csv")
    list(file.rows(COLUMNS, lambda reason, detail: said.append((reason, detail))))
    assert said == [
        (
            "not_a_number",
            "some.csv: row 2 has b'oops' where a number belongs; it is left out",
        )
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "is empty"),
        (b"t,x\n1,\x002\n", "binary data"),
        (b"t,x\n1,\xff\xfe\n", "binary data"),
        ("t,x\n1,2\n".encode("utf-16"), "binary data"),
        (b"t;x\n1,5;2,5\n", "does not separate its columns with ','"),
        (b"t\tx\n1\t2\n", "does not separate its columns with ','"),
        (b"t,x\n1,0,5\n2,0,6\n", "decimal commas"),
        (b"t,x,x\n1,2,3\n", "'x' more than once"),
    ],
)
def test_what_cannot_be_a_table_is_refused_with_the_reason(data, why):
    with pytest.raises(UnusableInput, match=why):
        CsvFile(io.BytesIO(data), "some.csv")


def test_two_rows_glued_together_at_the_start_are_not_taken_for_decimal_commas():
    assert read(b"t,x\n1,2,3\n4,5\n", Columns(("x",), "t"))[1] == [4]


@given(st.lists(lines, max_size=12))
@example([b"1,true,n,2.5,l"])
@example([b"1,[2],n,2.5,l"])
@example([b"1,NaN,n,2.5,l"])
@example([b"1," + b"9" * 400 + b",n,2.5,l"])
def test_without_simdjson_the_same_is_read(table):
    text = HEADER + b"1,0.5,n,2.5,l\n" + b"\n".join(table)
    with_it = read(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "simdjson", None)
        assert read(text) == with_it
