import gzip
import os
import resource
import shutil
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import SinkUnavailable
from hard_delivery.lines import LineFile, RotationConfig

LINE = b'{"seq": %d, "much": "more"}\n'


class Kept:
    """A file in a folder, as its owner finds it afterwards."""

    def __init__(self, folder, **config):
        self.folder, self.path = folder, folder / "events.jsonl"
        self.config = RotationConfig(**config)
        self.counts = Counter()
        self.files = []

    def opened(self):
        """Open it anew; what was open before is left as a kill leaves it."""
        file = LineFile(self.path, self.config, lambda reason, _: self.counts.update([reason]))
        self.files.append(file)
        file.open()
        return file

    def rotated(self):
        return sorted(p.name for p in self.folder.iterdir() if p != self.path)

    def lines(self):
        """Every line kept, the oldest first."""
        texts = []
        for name in [*self.rotated(), self.path.name]:
            data = (self.folder / name).read_bytes()
            texts.append(gzip.decompress(data) if name.endswith(".gz") else data)
        return b"".join(texts).splitlines(keepends=True)


@pytest.fixture
def kept(tmp_path):
    made = []

    def make(**config):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Kept(folder, **config))
        return made[-1]

    yield make
    for each in made:
        for file in each.files:
            file.close()


def numbered(*numbers):
    return [LINE % n for n in numbers]


def test_a_full_file_makes_room_for_another_and_no_line_is_lost(kept):
    log = kept(rotate_mb=0.0001, compress=False)
    file = log.opened()
    for n in range(20):
        file.append(LINE % n)
    assert len(log.rotated()) > 4
    assert max(p.stat().st_size for p in log.folder.iterdir()) <= 100
    assert log.lines() == numbered(*range(20))


def test_a_file_is_never_rotated_if_asked_so(kept):
    log = kept(rotate_mb=0)
    file = log.opened()
    for n in range(50):
        file.append(LINE % n)
    assert log.rotated() == []


def test_a_rotated_file_is_compressed_piece_by_piece(kept):
    log = kept(rotate_mb=2.1)
    file = log.opened()
    line = os.urandom(500_000).hex().encode() + b"\n"
    for _ in range(3):
        file.append(line)
    (plain,) = log.rotated()
    file.tend()
    assert log.rotated() == [plain, f"{plain}.gz.part"]
    for _ in range(3):
        file.tend()
    assert log.rotated() == [f"{plain}.gz"]
    assert log.lines() == [line] * 3


@pytest.mark.parametrize("crash", ["half compressed", "original not yet removed"])
def test_a_crash_while_compressing_loses_and_doubles_nothing(kept, crash):
    log = kept(rotate_mb=0.00005)
    file = log.opened()
    file.append(LINE % 1)
    file.append(LINE % 2)
    (plain,) = log.rotated()
    if crash == "half compressed":
        file.tend()
        assert f"{plain}.gz.part" in log.rotated()
    else:
        (log.folder / f"{plain}.gz").write_bytes(gzip.compress(LINE % 1))
    again = log.opened()
    again.tend()
    again.tend()
    assert log.rotated() == [f"{plain}.gz"]
    assert log.lines() == numbered(1, 2)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["append", "tend", "kill", "close"]), max_size=60))
def test_whatever_happens_every_line_is_kept_once_and_in_order(tmp_path_factory, steps):
    log = Kept(tmp_path_factory.mktemp("log"), rotate_mb=0.0001)
    file, n = log.opened(), 0
    for step in steps:
        if step == "append":
            file.append(LINE % n)
            n += 1
        elif step == "tend":
            file.tend()
        else:
            if step == "close":
                file.close()
            file = log.opened()
    for _ in range(100):
        file.tend()
    names = log.rotated()
    assert all(name.endswith(".gz") for name in names)
    assert log.lines() == numbered(*range(n))
    for each in log.files:
        each.close()


def test_no_more_files_than_asked_for_are_kept_and_the_rest_is_counted(kept):
    log = kept(rotate_mb=0.00003, keep_files=3, compress=False)
    file = log.opened()
    for n in range(10):
        file.append(LINE % n)
    assert log.lines() == numbered(6, 7, 8, 9)
    assert log.counts == {"pruned_files": 6}


def test_no_more_than_so_much_is_kept(kept):
    log = kept(rotate_mb=0.00003, max_mb=0.0001, compress=False)
    file = log.opened()
    for n in range(10):
        file.append(LINE % n)
    assert log.lines() == numbered(6, 7, 8, 9)


def test_a_rotated_file_sorts_behind_those_of_a_clock_that_was_ahead(kept):
    log = kept(rotate_mb=0.00003, compress=False)
    file = log.opened()
    (log.folder / "events-20991231T235959Z.jsonl").write_bytes(LINE % 0)
    file.append(LINE % 1)
    file.append(LINE % 2)
    assert log.rotated() == ["events-20991231T235959Z.jsonl", "events-21000101T000000Z.jsonl"]
    assert log.lines() == numbered(0, 1, 2)


def test_a_new_day_begins_a_new_file(kept):
    log = kept(daily=True, compress=False)
    file = log.opened()
    file.append(LINE % 1)
    file.close()
    yesterday_s = time.time() - 86_400
    os.utime(log.path, (yesterday_s, yesterday_s))
    file = log.opened()
    file.append(LINE % 2)
    assert len(log.rotated()) == 1
    assert log.path.read_bytes() == LINE % 2


def test_files_of_others_in_the_folder_are_left_alone(kept):
    log = kept(rotate_mb=0.00003, keep_files=0)
    others = ["events-old.jsonl", "events-20260101T000000Z.jsonl.bak", "other.jsonl"]
    for name in others:
        (log.folder / name).write_text("theirs")
    file = log.opened()
    for n in range(5):
        file.append(LINE % n)
        file.tend()
    assert log.rotated() == sorted(others)


@pytest.mark.parametrize("remove", [os.unlink, lambda path: shutil.rmtree(path.parent)])
def test_a_file_or_folder_that_was_removed_is_made_again(kept, remove):
    log = kept()
    file = log.opened()
    file.append(LINE % 1)
    remove(log.path)
    file.append(LINE % 2)
    assert log.path.read_bytes() == LINE % 2
    assert log.counts == {"file_moved": 1}


def test_a_file_that_was_renamed_by_another_is_begun_again_without_an_event(kept):
    log = kept()
    file = log.opened()
    file.append(LINE % 1)
    log.path.rename(log.folder / "events.jsonl.1")
    file.tend()
    assert log.path.read_bytes() == b""


@contextmanager
def a_disk_of(n_bytes):
    """Let no file grow beyond so many bytes: a full disk without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_full_disk_took_in_part_is_taken_back(kept):
    log = kept()
    file = log.opened()
    file.append(LINE % 1)
    with a_disk_of(40), pytest.raises(SinkUnavailable, match="free space or change path"):
        file.append(LINE % 2)
    file.close()
    assert log.path.read_bytes() == LINE % 1
    file = log.opened()
    file.append(LINE % 2)
    assert log.lines() == numbered(1, 2)
    assert log.counts == {}


def test_a_disk_too_full_to_compress_keeps_the_original(kept):
    log = kept(rotate_mb=0.1)
    file = log.opened()
    line = os.urandom(30_000).hex().encode() + b"\n"
    file.append(line)
    file.append(line)
    (plain,) = log.rotated()
    with a_disk_of(20_000):
        file.tend()
        file.tend()
    assert log.rotated() == [plain]
    assert log.counts == {"not_compressed": 1}
    assert log.lines() == [line, line]
