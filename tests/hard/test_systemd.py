"""systemd's side is played by a real datagram socket and real directories."""

import os
import socket

import pytest

from hard import systemd


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_assignments_arrive_as_lines_of_one_datagram(manager):
    systemd.notify("READY=1", "STATUS=two\nlines")
    assert manager.recv(1024) == b"READY=1\nSTATUS=two lines"


def test_an_abstract_socket_is_reached(monkeypatch):
    name = f"hard-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("WATCHDOG=1")
        assert listening.recv(1024) == b"WATCHDOG=1"


def test_a_manager_that_is_gone_stops_nobody(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with caplog.at_level("DEBUG", "hard.systemd"):
        systemd.notify("READY=1")
    assert "does not listen" in caplog.text


@pytest.mark.usefixtures("manager")
def test_a_manager_that_does_not_read_holds_nobody_up(caplog):
    with caplog.at_level("DEBUG", "hard.systemd"):
        for _ in range(1000):  # Linux queues 10 by default, a machine may allow more
            systemd.notify("WATCHDOG=1")
            if caplog.records:
                break
    assert "does not listen" in caplog.text


def test_outside_systemd_nothing_is_sent_and_nothing_found(monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    systemd.notify("READY=1")
    assert systemd.watchdog_interval_s() is None
    assert systemd.credential("mqtt") is None
    assert systemd.state_directory() is None


@pytest.mark.parametrize(
    ("usec", "pid", "interval_s"),
    [
        ("30000000", None, 30.0),
        ("500000", "own", 0.5),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_for_this_process_only(monkeypatch, usec, pid, interval_s):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert systemd.watchdog_interval_s() == interval_s


def test_a_credential_is_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "mqtt").write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert systemd.credential("mqtt") == tmp_path / "mqtt"
    assert systemd.credential("other") is None


def test_the_first_state_directory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/var/lib/other")
    assert systemd.state_directory() == tmp_path
