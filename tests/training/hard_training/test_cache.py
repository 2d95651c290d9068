"""What was cut is kept, made anew when anything it depends on changed, never used in part."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hard.card import ModelInput
from hard_training.cache import cache_folder, cached_grid, cached_windows
from hard_training.datasets import DATA_SETS, DataMissing, DataUnusable
from hard_training.windows import labelled_windows

WANTED = ModelInput(
    channels=("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"),
    sampling_rate_hz=50,
    window_samples=128,
    stride_samples=64,
    frame="upright",
)
MOTIONSENSE = DATA_SETS["motionsense"]
FIELDS = ("values", "label", "person", "recording", "t_start")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "motionsense-pocket"


@pytest.fixture
def small(tmp_path, motionsense):
    """Two of the made-up people, in an archive that a test may change."""
    with (
        zipfile.ZipFile(motionsense / "motionsense.zip") as whole,
        zipfile.ZipFile(tmp_path / "motionsense.zip", "w") as few,
    ):
        for name in whole.namelist():
            if name.endswith(("sub_1.csv", "sub_3.csv")):
                few.writestr(name, whole.read(name))
    return tmp_path


def windows(data, labels=MOTIONSENSE.labels, wanted=WANTED):
    return cached_windows(MOTIONSENSE, data, labels, wanted)


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_windows_from_the_cache_are_those_that_were_cut(small):
    cut = labelled_windows(list(MOTIONSENSE.recordings(small)), MOTIONSENSE.labels, WANTED)
    first = windows(small)
    second = windows(small)
    assert len(cut) > 50
    assert same(first, cut)
    assert same(second, cut)
    assert second.values.dtype == np.float32


def test_recordings_on_the_grid_come_back_as_they_were(small):
    made = cached_grid(MOTIONSENSE, small, WANTED)
    kept = cached_grid(MOTIONSENSE, small, WANTED)
    assert [(r.name, r.person, r.order, r.segments) for r in kept.recordings] == [
        (r.name, r.person, r.order, r.segments) for r in made.recordings
    ]
    for one, other in zip(made.recordings, kept.recordings, strict=True):
        for a, b in zip(one.blocks, other.blocks, strict=True):
            assert (a.segment, a.k0) == (b.segment, b.k0)
            assert np.array_equal(a.values, b.values)
            assert np.array_equal(a.valid, b.valid)


def test_the_second_time_the_archive_is_not_opened(small, folder):
    first = windows(small)
    archive = small / "motionsense.zip"
    stat = archive.stat()
    archive.write_bytes(bytes(stat.st_size))  # nothing that could be read
    os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert same(windows(small), first)
    assert len(list(folder.iterdir())) == 2


def test_another_archive_makes_everything_anew(small):
    before = windows(small)
    with zipfile.ZipFile(small / "motionsense.zip", "a") as archive:
        name = "A_DeviceMotion_data/wlk_7/sub_3.csv"
        archive.writestr("A_DeviceMotion_data/wlk_8/sub_3.csv", archive.read(name))
    assert len(windows(small)) > len(before)


def test_other_labels_strides_and_frames_are_other_windows(small):
    whole = windows(small)
    fewer = windows(small, ("walking", "still"))
    device = windows(small, wanted=WANTED.model_copy(update={"frame": "device"}))
    finer = windows(small, wanted=WANTED.model_copy(update={"stride_samples": 16}))
    assert set(fewer.label.tolist()) == {0, 1}
    assert len(fewer) < len(whole) < len(finer)
    assert not np.array_equal(device.values, whole.values)
    accel = WANTED.model_copy(update={"channels": WANTED.channels[:3]})
    assert windows(small, wanted=accel).values.shape == (len(whole), 128, 3)
    assert same(windows(small), whole)


def test_an_entry_that_was_cut_short_is_made_again(small, folder):
    whole = windows(small)
    (entry,) = folder.glob("windows-*")
    values = entry / "values.npy"
    values.write_bytes(values.read_bytes()[:-100])
    assert same(windows(small), whole)
    (entry / "index.json").write_text("{")
    assert same(windows(small), whole)
    (entry / "label.npy").unlink()
    assert same(windows(small), whole)
    np.save(entry / "label.npy", whole.label[:-1])
    assert same(windows(small), whole)


def test_what_an_interrupted_run_left_aside_is_not_used(small, folder):
    whole = windows(small)
    (entry,) = folder.glob("windows-*")
    entry.rename(folder / ".unfinished-abc")
    assert same(windows(small), whole)
    assert (folder / ".unfinished-abc").exists()  # it may be another run's


def test_what_was_left_aside_long_ago_is_removed(small, folder):
    (folder / ".unfinished-abc").mkdir(parents=True)
    os.utime(folder / ".unfinished-abc", (0, 0))
    windows(small)
    assert not (folder / ".unfinished-abc").exists()


def test_what_other_code_made_is_removed(small, folder):
    windows(small)
    (entry,) = folder.glob("windows-*")
    old = entry.with_name(f"{entry.name.rpartition('-')[0]}-0123456789abcdef")
    shutil.copytree(entry, old)
    shutil.rmtree(entry)
    windows(small)
    assert entry.exists()
    assert not old.exists()


def test_a_cache_that_cant_be_written_costs_time_and_nothing_else(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HARD_CACHE", str(tmp_path / "file"))
    assert len(windows(small)) > 50


def test_missing_and_damaged_archives_leave_nothing_behind(tmp_path, folder, small):
    with pytest.raises(DataMissing, match="no MotionSense there"):
        windows(tmp_path / "elsewhere")
    data = (small / "motionsense.zip").read_bytes()
    (small / "motionsense.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataUnusable, match="cut short"):
        windows(small)
    assert not folder.exists()


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/hard-train")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_folder() == Path("/h/.cache/hard-train")
