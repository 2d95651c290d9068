"""Labels beside a recording."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import UnusableInput
from tests.plugins.hard_file.reading import Read, write

HEADER = "t_start_ns,t_end_ns,label\n"
XYZ = "accel_x,accel_y,accel_z"


def plain(stamps, label=None):
    more = ("", "") if label is None else (",label", f",{label}")
    rows = "".join(f"{t},0,0,9.8{more[1]}\n" for t in stamps)
    return f"t_ns,{XYZ}{more[0]}\n{rows}"


def labelled(folder, labels, recording=None, name="walk.csv"):
    recording = plain(range(100)) if recording is None else recording
    write(folder, {name: recording, "walk.labels.csv": labels})
    return folder / name


def test_labels_beside_become_annotations_by_their_begin(tmp_path):
    rows = "60,80,walking\n10,20,sitting\n20,30,standing\n"
    read = Read(labelled(tmp_path, HEADER + rows))
    assert read.labels == [
        (10, "sitting"),
        (20, "standing"),
        (30, ""),
        (60, "walking"),
        (80, ""),
    ]
    assert {note.stream for note in read.notes} == {"walk"}


def test_they_take_the_place_of_labels_in_the_file(tmp_path):
    read = Read(labelled(tmp_path, HEADER + "10,20,sitting\n", plain(range(100), "cycling")))
    assert read.labels == [(10, "sitting"), (20, "")]


def test_they_come_with_the_samples_of_their_time(tmp_path):
    path = labelled(tmp_path, HEADER + "90000,95000,walking\n", plain(range(200_000)))
    read = Read(path)
    (at,) = [i for i, b in enumerate(read.batches) if b.t[0] <= 90_000 <= b.t[-1]]
    assert at > 0
    assert read.labels == [(90_000, "walking"), (95_000, "")]


def test_of_a_recording_without_a_date_they_count_from_its_start(tmp_path):
    path = labelled(tmp_path, HEADER + "20000000,40000000,sitting\n", f"{XYZ}\n" + "0,0,9.8\n" * 9)
    read = Read(path, rate_hz=50, start="1970-01-01T00:00:01Z")
    assert read.labels == [(1_020_000_000, "sitting"), (1_040_000_000, "")]


def test_they_stand_beside_packed_files_and_folders_too(tmp_path):
    labels = HEADER + "1,2,sitting\n"
    packed = labelled(tmp_path, labels, gzip.compress(plain(range(9)).encode()), "walk.csv.gz")
    assert Read(packed).labels == [(1, "sitting"), (2, "")]
    total = "time,seconds_elapsed,z,y,x\n" + "".join(f"{t},0,9.8,0,0\n" for t in range(9))
    write(tmp_path / "walk", {"TotalAcceleration.csv": total})
    assert Read(tmp_path / "walk").labels == [(1, "sitting"), (2, "")]


def test_bad_rows_are_skipped_and_counted(tmp_path):
    rows = "1,2,a\nx,2,b\n5,4,c\n1,2\n3,4,\n99999999999999999999,2,d\n7.5,8,e\n10,20,f\n"
    read = Read(labelled(tmp_path, HEADER + rows))
    assert read.skipped == {"bad_label": 6}
    assert [text for _, text in read.labels if text] == ["a", "f"]
    assert "walk.labels.csv: row 2 has ('x', '2') where integer ns belong" in read.said[0]


def test_a_file_of_labels_without_its_columns_is_refused_before_anything_comes(tmp_path):
    path = labelled(tmp_path, "from,to,label\n1,2,a\n")
    with pytest.raises(UnusableInput, match=r"walk\.labels\.csv: has the columns 'from', 'to'"):
        Read(path)


@given(st.text(max_size=200))
def test_arbitrary_labels_raise_nothing_but_unusable_input(tmp_path_factory, text):
    path = labelled(tmp_path_factory.mktemp("any"), text)
    try:
        read = Read(path)
    except UnusableInput as error:
        assert "walk.labels.csv" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert len(read.t()) == 100


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120), st.sampled_from("abc"))))
def test_no_label_is_lost_and_all_come_in_order(tmp_path_factory, intervals):
    rows = "".join(f"{a},{b},{label}\n" for a, b, label in intervals)
    read = Read(labelled(tmp_path_factory.mktemp("some"), HEADER + rows))
    good = sorted((a, b, label) for a, b, label in intervals if a < b)
    assert [t for t, _ in read.labels] == sorted(t for t, _ in read.labels)
    assert sorted(one for one in read.labels if one[1]) == sorted((a, c) for a, _, c in good)
    assert read.skipped["bad_label"] == len(intervals) - len(good)
