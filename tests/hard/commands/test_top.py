"""`hard top`: its picture from a status; the command on a real terminal beside a real daemon."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from hard.commands.top import frame
from tests.test_control import configured, hard, started, stopped
from tests.test_daemon import until

STREAM = {
    "stream": "phone-1",
    "age_s": 0.4,
    "rate_hz": {"accel": 50.0, "gyro": 49.9},
    "status": "ok",
    "activity": "walking",
    "confidence": 0.91,
    "probs": {"walking": 0.91, "standing": 0.06, "upstairs": 0.03, "sitting": 0.0},
    "reason": None,
}
ANSWER = {
    "node": "home",
    "version": "0.1.0",
    "up_s": 93784.2,
    "events": 7,
    "degraded": None,
    "known_streams": 1,
    "streams": [STREAM],
    "sources": [{"name": "phone", "state": "running", "why": None}],
    "sinks": [{"name": "mqtt", "state": "away", "why": "refused", "backlog": 12}],
    "recent": [
        {
            "event_type": "enter",
            "t_decided_ns": 1_790_000_000_000_000_000,
            "stream": "phone-1",
            "activity": "walking",
            "status": None,
            "reason": None,
        }
    ],
}


def lines(answer=ANSWER, width=100, height=None, **more):
    return [line.plain for line in frame(answer, width, height, **more)]


def test_a_wide_picture_has_probabilities_beside_the_stream():
    told = lines()
    assert told[0] == "home  hard 0.1.0  up 1 d 02:03:04  7 events"
    row = next(line for line in told if line.startswith("phone-1"))
    assert re.search(r"walking +91% +50 +0\.4", row)
    assert "walking 0.91 #########  standing 0.06 #  upstairs 0.03" in row
    assert "sink   mqtt away  backlog 12  refused" in told
    assert told[-1].endswith("phone-1  enter walking")


@pytest.mark.parametrize("width", [20, 40, 60, 75])
def test_a_narrow_picture_has_them_below_and_no_line_is_too_long(width):
    told = lines(width=width)
    assert max(map(len, told)) <= width
    assert any(line.startswith("  walking 0.91") for line in told)


def test_many_streams_leave_room_for_the_rest_and_are_counted():
    streams = [{**STREAM, "stream": f"phone-{n:03}"} for n in range(200)]
    told = lines({**ANSWER, "streams": streams, "known_streams": 230}, height=24)
    assert len(told) <= 24
    shown = sum(line.startswith("phone-") for line in told)
    assert f"and {230 - shown} more: hard status lists them" in told
    assert any("backlog 12" in line for line in told)


def test_a_daemon_that_is_away_is_said_above_what_was_known_last():
    assert "NOT THERE, trying again: nothing listens" in lines(away="nothing listens")


def test_a_stream_of_which_nothing_is_known_yet_and_one_that_is_rejected_are_told():
    new = {**STREAM, "status": None, "activity": None, "rate_hz": {}}
    del new["confidence"], new["probs"]
    bad = {**STREAM, "activity": None, "status": "rejected", "reason": "wrong unit: set it"}
    told = lines({**ANSWER, "streams": [new, {**bad, "stream": "x"}], "known_streams": 2})
    assert any(line.startswith("phone-1  undecided") for line in told)
    assert "  wrong unit: set it" in told


def test_nothing_that_is_told_can_move_the_cursor():
    sinks = [{"name": "mqtt", "state": "away", "why": "\x1b[2J\r\n\x9b", "backlog": 0}]
    assert all(line.isprintable() for line in lines({**ANSWER, "sinks": sinks}))


# -- the command ---------------------------------------------------------------------------------


class Terminal:
    """A pseudo terminal of so many columns, with `hard top` in it; what it wrote so far."""

    def __init__(self, config, columns=46):
        self.fd, inner = pty.openpty()
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
        self.before = termios.tcgetattr(inner)
        self.inner = inner
        self.text = ""
        command = ["setsid", "--ctty", sys.executable, "-m", "hard", "top", "-c", str(config)]
        environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [*command, "--every", "0.2"],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**environment, "TERM": "xterm-256color"},
        )

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            self.text += os.read(self.fd, 65536).decode()
        return self.text

    def shows(self, what):
        """Wait until it writes something anew."""
        self.read()
        seen = len(self.text)
        until(lambda: what in self.read()[seen:], 30)

    def ended(self):
        while self.process.poll() is None:
            self.read()
            time.sleep(0.02)
        self.read()
        return self.process.returncode

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)
        os.close(self.inner)


@contextlib.contextmanager
def watched(config):
    terminal = Terminal(config)
    try:
        yield terminal
    finally:
        terminal.close()


def test_it_shows_what_comes_says_that_the_daemon_is_away_and_finds_the_next_one(tmp_path):
    config = configured(tmp_path)
    with started(config) as process:
        until(lambda: "sim-1" in hard("status", "-c", config).stdout)
        with watched(config) as terminal:
            terminal.shows("standing 0.9")
            assert stopped(process) == 0
            terminal.shows("NOT THERE, trying again")
            with started(config):
                terminal.shows("running")
                os.write(terminal.fd, b"q")
                assert terminal.ended() == 0
            assert termios.tcgetattr(terminal.inner) == terminal.before
            assert terminal.text.count("\x1b[?1049h") == terminal.text.count("\x1b[?1049l") == 1
            assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")


@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM"])
def test_a_signal_leaves_the_terminal_as_it_was(tmp_path, end):
    config = configured(tmp_path)
    with started(config), watched(config) as terminal:
        terminal.shows("backlog 0")
        if end == "Ctrl-C":
            os.write(terminal.fd, b"\x03")
        else:
            terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0
        assert termios.tcgetattr(terminal.inner) == terminal.before
        assert "\x1b[?1049l" in terminal.text


def test_once_prints_one_picture_and_so_does_a_pipe(tmp_path):
    config = configured(tmp_path)
    with started(config):
        until(lambda: "sim-1" in hard("status", "-c", config).stdout)
        for more in (["--once"], []):
            done = hard("top", "-c", config, *more)
            assert done.returncode == 0
            assert done.stdout.count("hard 0.1.0") == 1
            assert "sim-1" in done.stdout
            assert "\x1b" not in done.stdout


def test_without_a_daemon_it_says_what_to_start(tmp_path):
    done = hard("top", "-c", configured(tmp_path))
    assert done.returncode == 1
    assert "start hard run -c" in done.stderr
