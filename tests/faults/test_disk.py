"""The disk is full, read-only, or cut off with the power: what was seen is never numbered again."""

import os
import random
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from hard.api import Event
from hard.eventlog import EventLog
from tests.broker import free_port
from tests.faults.installation import figure, wait_for
from tests.faults.test_broker import SEED, caught_up, ended, made
from tests.faults.verifier import account, logged

faults = pytest.mark.faults
CUTS = 25
MINUTES = float(os.environ.get("FAULTS_MINUTES", "5"))


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 12 MB as the state directory."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "none", folder]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root: it mounts a disk of its own")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@faults
def test_after_a_power_cut_at_any_instant_no_number_is_given_again(
    verifier, install, tell, tmp_path
):
    """The files as they are at an instant, the write-ahead log cut anywhere: it was not synced."""
    rng = random.Random(SEED)
    daemon = install(streams=8).start()
    newest, lost = 0, []
    for n in range(CUTS):
        made(daemon, rng.randint(1, 60))
        daemon.freeze()
        copy = tmp_path / f"cut{n}"
        shutil.copytree(daemon.events.parent, copy, ignore=shutil.ignore_patterns("*.sock", "*shm"))
        shown = max((seq for _, seq, *_ in list(verifier.seen)), default=0)
        daemon.thaw()
        wal = copy / "events.db-wal"
        if wal.exists() and n % 2:
            os.truncate(wal, rng.randrange(wal.stat().st_size + 1))
        newest, again = _opened_again(copy / "events.db")
        assert again > shown, "a number that somebody saw was given again"
        lost.append(max(0, shown - newest))
        shutil.rmtree(copy)
    caught_up(daemon, verifier, 20)
    ended(daemon)
    told = f"{CUTS} cuts, seed {SEED}: integrity ok, at most {max(lost)} numbers taken back"
    tell(f"{account(daemon.events, verifier)}; {told}")


def _opened_again(path):
    """Open a copy of a log; return the last number in it and the first one given from now on."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (newest,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    log = EventLog(path)
    first = log.newest + 1
    log.append([Event(kind="status", stream="s", t_decided=1, t_start=1, model="m", segment=0)])
    assert log.flush(10.0)
    assert log.newest == first
    log.close()
    return newest, first


@pytest.mark.fast_fault("F12")
def test_a_disk_that_is_full_for_a_while_costs_no_event(verifier, install, tell, small_disk):
    daemon = install().start()
    made(daemon, 30)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        _fill(file)
    wait_for(lambda: "disk full" in str(daemon.status()["degraded"]), 60, daemon)
    before = daemon.status()["events"]
    wait_for(lambda: daemon.status()["events"] > before + 50, 120, daemon)
    filler.unlink()
    began_s = time.monotonic()
    wait_for(lambda: daemon.status()["degraded"] is None, 20, daemon)
    back_s = time.monotonic() - began_s
    caught_up(daemon, verifier, 20)
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; written again {back_s:.1f} s after there was room")


def _fill(file):
    """Fill a disk to its last byte."""
    for size in (65536, 4096, 1):
        try:
            while True:
                file.write(b"\0" * size)
        except OSError:
            continue


@faults
def test_a_disk_that_is_read_only_for_a_while_costs_no_event(verifier, install, tell, small_disk):
    port = free_port()  # such a disk takes no control socket
    daemon = install(extra=f"[metrics]\nport = {port}").start()
    made(daemon, 30)
    daemon.kill()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    daemon.start()
    wait_for(lambda: daemon.said("read-only"), 60, daemon)
    wait_for(lambda: _decided(port) >= 50, 60, daemon)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    began_s = time.monotonic()
    wait_for(lambda: daemon.said("can be written again"), 20, daemon)
    back_s = time.monotonic() - began_s
    made(daemon, 30)
    caught_up(daemon, verifier, 20)
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; written again {back_s:.1f} s after it could be")


def _decided(port):
    """Return how many events a daemon decided since its start, 0 until it can be asked."""
    try:
        return figure(port, "hard_events_total")
    except OSError:
        return 0


class Card:
    """A memory card of 24 MB at `folder`: `fail` makes it read-only as its own errors would."""

    def __init__(self, folder):
        self._image, self._folder = folder.with_suffix(".img"), folder
        folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(24_000_000)
        subprocess.run(["mkfs.ext4", "-q", self._image], check=True)

    def put_in(self):
        options = ["-o", "loop,errors=remount-ro"]
        return not subprocess.run(
            ["mount", *options, self._image, self._folder], check=False
        ).returncode

    def fail(self):
        source = ["findmnt", "-no", "SOURCE", self._folder]
        told = subprocess.run(source, check=True, capture_output=True, text=True).stdout.strip()
        Path("/sys/fs/ext4", Path(told).name, "trigger_fs_error").write_text("a test")

    def take_out(self):
        # Put in again while somebody still has it open, it would be the same failed file system.
        if subprocess.run(["umount", self._folder], check=False, capture_output=True).returncode:
            subprocess.run(["umount", "-l", self._folder], check=True)
        subprocess.run(["e2fsck", "-fp", self._image], check=False, capture_output=True)


@pytest.fixture
def card(tmp_path):
    card = Card(tmp_path / "state")
    if not card.put_in():
        pytest.skip("needs root: it mounts a disk of its own")
    yield card
    card.take_out()


@faults
def test_a_card_that_fails_under_the_daemon_costs_no_event_that_was_committed(
    verifier, install, tell, card
):
    daemon = install().start()
    made(daemon, 30)
    card.fail()
    began_s = time.monotonic()
    wait_for(lambda: "disk" in str(daemon.status()["degraded"]), 20, daemon)
    told_s = time.monotonic() - began_s
    decided = daemon.status()["events"]
    wait_for(lambda: daemon.status()["events"] >= decided + 50, 60, daemon)
    status, took_s = daemon.stop()
    assert status == 0
    assert took_s < 4.5 + 1
    card.take_out()
    card.put_in()
    daemon.start()
    made(daemon, 30)
    caught_up(daemon, verifier, 20)
    ended(daemon)
    told = f"told after {told_s:.1f} s, ended after {took_s:.1f} s"
    beyond = len(verifier.ids() - {event.id for event in logged(daemon.events)})
    told = f"{told}; {beyond} were delivered that it forgot"
    tell(f"{account(daemon.events, verifier, forgotten=True)}; {told}")


@faults
@pytest.mark.parametrize(("bouts_an_hour", "most_mb"), [(0, 1.0), (60, 3.0)])
def test_what_an_hour_writes_to_the_disk(install, tell, bouts_an_hour, most_mb):
    """One stream in real time for some minutes (FAULTS_MINUTES), times what an hour has of them."""
    # With the settings of every day; who does the same for hours makes no event.
    trials = 1 if bouts_an_hour == 0 else 8
    daemon = install(streams=1, speed=1.0, piece_s=60, trials=trials, decision="").start()
    made(daemon, 2)  # its status, and its first bout begins
    if not bouts_an_hour:  # all that these wrote is written before the hour begins
        wait_for(lambda: _is_stored(daemon.events), 180, daemon)
    before, begun = (_written(daemon.pid), time.monotonic()), daemon.status()["events"]
    time.sleep(MINUTES * 60)
    written = [b - a for a, b in zip(before[0], _written(daemon.pid), strict=True)]
    hours = (time.monotonic() - before[1]) / 3600
    n = daemon.status()["events"] - begun
    ended(daemon)
    per_hour_mb = max(written) / hours / 1e6
    tell(
        f"{n} events in {hours * 60:.0f} minutes; written {per_hour_mb:.2f} MB an hour "
        f"(calls {written[0]} bytes, disk {written[1]} bytes)"
    )
    assert per_hour_mb < most_mb
    assert (n > 0) == (bouts_an_hour > 0)


def _is_stored(path):
    """Tell whether a bout has begun, and its sink's place behind it stands in the file."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            (behind,) = db.execute(
                "SELECT (SELECT max(seq) FROM open_bouts) <= (SELECT max(seq) FROM cursors)"
            ).fetchone()
    except sqlite3.OperationalError:  # not made yet
        return False
    return behind == 1


def _written(pid):
    """Return what a process gave to `write`, and what of it the kernel charged to a disk, bytes."""
    lines = Path(f"/proc/{pid}/io").read_text("utf-8").splitlines()
    told = dict(line.split(": ") for line in lines)
    return int(told["wchar"]), int(told["write_bytes"])
