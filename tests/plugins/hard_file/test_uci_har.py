"""UCI HAR's inertial signals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import UnusableInput
from hard_file import open_recording
from tests.plugins.hard_file.reading import Read, write, zipped

SIGNALS = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz"]


def signal(n, seed=0):
    """Return float64[n, 6] as the files can hold it."""
    return np.round(np.random.default_rng(seed).normal(size=(n, 6)), 4)


def windows(x):
    return [x[i : i + 128] for i in range(0, len(x) - 127, 64)]


def members(cut, people, codes, part="train", folder="UCI HAR Dataset/"):
    """Return the layout of the data set for windows float64[128, 6]."""
    inertial = f"{folder}{part}/Inertial Signals/"
    files = {
        f"{inertial}{name}_{part}.txt": "".join(
            " ".join(f" {value: .7e}" for value in window[:, at]) + "\n" for window in cut
        )
        for at, name in enumerate(SIGNALS)
    }
    files[f"{folder}{part}/subject_{part}.txt"] = "".join(f"{p}\n" for p in people)
    files[f"{folder}{part}/y_{part}.txt"] = "".join(f"{c}\n" for c in codes)
    return files


def test_overlapping_windows_are_one_recording_again(tmp_path):
    x = signal(128 + 64 * 4)
    cut = windows(x)
    read = Read(zipped(tmp_path / "har.zip", members(cut, [7] * 5, [5, 5, 1, 1, 1])))
    assert (read.info.format, read.streams) == ("uci_har", ["har-train-7"])
    assert np.array_equal(read.values(), x[:, :3].astype("f4"))
    assert np.array_equal(read.values("gyro"), x[:, 3:].astype("f4"))
    assert read.t() == read.t("gyro") == [k * 20_000_000 for k in range(len(x))]
    assert read.labels == [(0, "STANDING"), (192 * 20_000_000, "WALKING")]
    assert (read.info.declared["accel"].unit, read.info.sign) == ("g", 1)
    assert "filtered by their authors; joined again where they overlap" in read.info.reason


def test_where_time_was_cut_out_the_next_piece_stands_5_s_later(tmp_path):
    one, other = signal(192, 1), signal(128, 2)
    cut = windows(one) + windows(other)
    read = Read(write(tmp_path / "har", members(cut, [1] * 3, [1] * 3)))
    assert np.array_equal(read.values(), np.concatenate([one, other])[:, :3].astype("f4"))
    steps = np.diff(read.t())
    assert steps[191] == 5_020_000_000
    assert set(np.delete(steps, 191)) == {20_000_000}


def test_every_person_and_part_is_a_stream(tmp_path):
    cut = [signal(128, seed) for seed in range(3)]
    files = members(cut, [1, 1, 3], [1, 1, 6]) | members(cut[:1], [2], [4], "test")
    read = Read(write(tmp_path / "har", files))
    assert read.streams == ["har-test-2", "har-train-1", "har-train-3"]
    assert read.t(stream="har-train-3")[0] == 0
    notes = {(note.stream, note.text) for note in read.notes}
    assert ("har-train-3", "LAYING") in notes


def test_one_file_brings_the_others_beside_it(tmp_path):
    files = members(windows(signal(192)), [1, 1], [2, 2])
    write(tmp_path, files)
    path = tmp_path / "UCI HAR Dataset/train/Inertial Signals/total_acc_x_train.txt"
    assert len(Read(path).t()) == 192
    path.with_name("body_gyro_y_train.txt").unlink()
    with pytest.raises(UnusableInput, match=r"need 'body_gyro_y_train\.txt' in the same folder"):
        open_recording(path)


def test_without_people_and_activities_the_signals_are_read(tmp_path):
    files = members(windows(signal(192)), [1, 1], [2, 2])
    kept = {name: text for name, text in files.items() if "Inertial" in name}
    read = Read(write(tmp_path / "har", kept))
    assert (read.streams, read.labels, len(read.t())) == (["har-train"], [], 192)


def test_a_bad_window_is_counted_and_the_next_begins_a_piece(tmp_path):
    cut = windows(signal(128 + 64 * 2))
    files = members(cut, [1] * 3, [1] * 3)
    name = next(name for name in files if "total_acc_y" in name)
    lines = files[name].splitlines()
    files[name] = "\n".join([lines[0], lines[1] + " oops", lines[2]]) + "\n"
    read = Read(write(tmp_path / "har", files))
    assert read.skipped == {"bad_window": 1}
    assert len(read.t()) == 256
    assert np.diff(read.t())[127] == 5_020_000_000


@settings(max_examples=40)
@given(st.sampled_from(SIGNALS), st.integers(0, 3000), st.binary(max_size=30))
def test_damage_raises_nothing_but_unusable_input(tmp_path_factory, name, at, damage):
    folder = tmp_path_factory.mktemp("any")
    files = members(windows(signal(192)), [1, 1], [2, 2])
    path = f"UCI HAR Dataset/train/Inertial Signals/{name}_train.txt"
    text = files[path].encode()
    files[path] = text[:at] + damage + text[at:]
    try:
        read = Read(write(folder, files))
    except UnusableInput as error:
        assert "not one usable row" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert len(read.t()) in {128, 192, 256}
