"""`hard forget`, `backup` and `restore` at the prompt, with a daemon and without."""

import gzip
import json
import re
import signal
import subprocess
from contextlib import closing
from dataclasses import replace

import pytest

from hard.eventfile import Wanted
from hard.eventlog import EventLog
from hard.history import listed
from hard.testing import sample_events
from tests.broker import Broker
from tests.calling import Forked, hard
from tests.test_daemon import (
    Phone,
    daemon,
    events_of,
    listening,
    messages,
    said,
    simulator,  # noqa: F401 - a fixture
    until,
)
from tests.test_daemon import a_walk as walk_of

CONFIG = """
[hard]
node = "attic"
state_dir = "state"
[sinks.home]
plugin = "mqtt"
"""


@pytest.fixture
def folder(tmp_path):
    """A state directory with two streams, recordings and a file that was damaged once."""
    (tmp_path / "hard.toml").write_text(CONFIG)
    enter = sample_events(1)[0]
    log = EventLog(tmp_path / "state/events.db")
    for stream in ("phone-1", "phone-10"):
        log.append([replace(enter, kind="status", stream=stream)], {stream: {"paused": True}})
    log.close()
    for session in ("20260501T093000Z", "20260502T093000Z"):
        inside = tmp_path / "state/recordings" / session
        inside.mkdir(parents=True)
        for stream in ("phone-1", "phone-10")[: 1 if "02T" in session else 2]:
            (inside / f"{stream}.json").write_text("{}")
            (inside / f"{stream}.0001.csv.gz").write_bytes(gzip.compress(b"rows"))
    (tmp_path / "state/events.db.damaged-20260501T093000.000000Z").write_text("phone-1")
    return tmp_path


def kept(folder):
    with closing(EventLog(folder / "state/events.db")) as log:
        debts = log.cursor("home").to_forget()
        return {e.stream for e in log.read(0, 99)}, set(log.states()), debts


def recorded(folder):
    return sorted(str(p.relative_to(folder / "state/recordings")) for p in folder.rglob("*.gz"))


def test_a_stream_is_forgotten_once_that_is_confirmed(folder):
    before = recorded(folder)
    done = hard("forget", "phone-1", folder=folder, typed="n\n")
    assert done.returncode == 1
    for what in ("1 events in", "4 files of recordings", "damaged-2026", "the sink home shows"):
        assert what in done.stdout
    assert (recorded(folder), len(before)) == (before, 3)
    assert kept(folder) == ({"phone-1", "phone-10"}, {"phone-1", "phone-10"}, [])
    done = hard("forget", "phone-1", folder=folder, typed="y\n")
    assert done.returncode == 0, done.stderr
    assert "should phone-1 send again it comes back: stop its device, `hard pause" in done.stdout
    assert kept(folder) == ({"phone-10"}, {"phone-10"}, ["phone-1"])
    assert recorded(folder) == ["20260501T093000Z/phone-10.0001.csv.gz"]
    assert sorted(p.name for p in (folder / "state/recordings").iterdir()) == ["20260501T093000Z"]
    assert not list(folder.glob("state/*damaged*"))


def test_a_backup_is_put_back_on_another_machine_under_its_name(folder, tmp_path_factory):
    done = hard("backup", "b.zip", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "2 events up to number 2" in done.stdout
    other = tmp_path_factory.mktemp("other")
    (other / "hard.toml").write_text(CONFIG.replace("attic", "cellar"))
    done = hard("restore", folder / "b.zip", "--yes", folder=other)
    assert re.search(r"number \(seq\) will be above \d+: .* may have given lower ones", done.stdout)
    assert done.returncode == 0, done.stderr
    assert 'set node = "attic" under [hard]' in done.stderr
    assert kept(other) == kept(folder)
    done = hard("restore", folder / "hard.toml", "--yes", folder=other)
    assert (done.returncode, "can't be read as a backup" in done.stderr) == (1, True)


def test_a_backup_takes_the_place_of_a_file_only_when_told_to_and_never_of_the_log(folder):
    assert hard("backup", "b.zip", folder=folder).returncode == 0
    done = hard("backup", "b.zip", folder=folder)
    assert (done.returncode, "--force to replace it" in done.stderr) == (1, True)
    assert hard("backup", "b.zip", "--force", folder=folder).returncode == 0
    (folder / "linked").hardlink_to(folder / "state/events.db")
    for name in ("state/events.db", "linked", "state/events.db-wal", "state/events.db.evidence"):
        done = hard("backup", name, "--force", folder=folder)
        assert (done.returncode, "it is the event log itself" in done.stderr) == (1, True), name
    assert kept(folder)[0] == {"phone-1", "phone-10"}


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.close()


def shown(broker, stream):
    """What a reader that comes now is shown of a stream."""
    watcher = broker.watch("#")
    broker.watch("#").publish("end", b"", retain=False)
    seen = []
    while not seen or seen[-1][0] != "end":
        seen.append(watcher.next())
    watcher.close()
    return [topic for topic, payload, _ in seen if stream in topic and payload]


def test_a_running_daemon_forgets_a_stream_everywhere_and_delivers_again(
    tmp_path,
    broker,
    simulator,  # noqa: F811 - the fixture
):
    """And one that sends on begins anew."""
    sensors = walk_of(simulator, [("walking", 40), ("sitting", 40)])
    phone, config = Phone(broker.port), ["-c", tmp_path / "hard.toml"]
    path, log = tmp_path / "events.jsonl", tmp_path / "state/events.db"
    extra = "[record]\n[decision]\nno_data_after_s = 3.0\n"
    with daemon(tmp_path, broker.port, extra) as process:
        listening(tmp_path, phone)
        parts = list(messages(sensors))
        for number, part in parts:
            phone.send(number, part)
        until(lambda: (events_of(path) or [{}])[-1].get("status") == "no_data")
        assert shown(broker, "phone-1")
        n = len(events_of(path))

        done = hard("events", "redeliver", "file", "--from", 1, *config)
        assert done.stdout == f"{n} events are delivered again to file\n"
        until(lambda: len(events_of(path)) == 2 * n)
        again = events_of(path)
        assert [e["id"] for e in again[:n]] == [e["id"] for e in again[n:]]
        assert hard("restore", "b.zip", "--yes", *config, folder=tmp_path).returncode == 1

        done = hard("forget", "phone-1", "--yes", *config)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^{n} events removed\n[1-9] files of", done.stdout, re.MULTILINE)
        assert "sink broker: has cleared what it shows" in done.stdout
        assert shown(broker, "phone-1") == []
        assert list(listed(log, Wanted())) == []
        assert not list(tmp_path.glob("state/recordings/*/phone-1.*"))
        assert json.loads(hard("status", "--json", *config).stdout)["streams"] == []

        for number, part in parts[:30]:
            phone.send(number + 1000, part)
        until(lambda: shown(broker, "phone-1"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    phone.close()
    assert not said(tmp_path, "Traceback")


def test_following_ends_with_ctrl_c(folder):
    pipe = {"stdout": subprocess.PIPE, "text": True}
    following = Forked("events", "--follow", "--json", cwd=folder, **pipe)
    with following, closing(EventLog(folder / "state/events.db")) as log:
        assert [json.loads(following.stdout.readline())["seq"] for _ in range(2)] == [1, 2]
        log.append([replace(sample_events(1)[0], kind="status")])
        assert json.loads(following.stdout.readline())["seq"] == 3
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130
