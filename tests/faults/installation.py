"""A daemon with restless wearers, as a process that may be killed and started again."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from hard.api import NS_PER_S
from hard.control import ControlError, ask, places
from tests.faults.motion import write_motion
from tests.faults.plugins import FOR_EVER_S
from tests.test_daemon import until

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = """\
[hard.sources]
restless = tests.faults.plugins:RestlessSource
faulty = tests.faults.plugins:FaultySource

[hard.sinks]
trouble = tests.faults.plugins:TroubleSink
"""
RESTLESS = """\
[decision]  # an event whenever another class leads
smoothing = "none"
novelty = 0
unknown_below = 0
merge_s = 0
"""
CONFIG = """\
[hard]
node = "faults"
state_dir = "{folder}/state"

[log]
max_events = 1000000
max_mb = 1000

{decision}

[sources.restless]
plugin = "restless"
motion = "{folder}/motion.npz"
begin_ns = {begin_ns}
data_ns = {data_ns}
streams = {streams}
speed = {speed}
seconds = {seconds}
present_s = {present_s}
absent_s = {absent_s}
message_s = {message_s}

[sinks.broker]
plugin = "mqtt"
host = "{host}"
port = {port}
keepalive_s = {keepalive_s}
{extra}
"""


class Installation:
    """`start`, `kill` and `stop` the daemon of `folder`; its wearers begin with the first start.

    `extra` follows the table of the broker's sink.  `speed` is of the data, `ago_s` how far they
    lie behind the wall clock at the start; the wearers do `trials` things in turn, each for
    `piece_s`.
    """

    def __init__(
        self,
        folder,
        archive,
        port,
        *,
        extra="",
        prefix=(),
        ago_s=0.0,
        piece_s=6,
        trials=8,
        **options,
    ):
        self.folder, self.log = folder, folder / "log.txt"
        self.events = folder / "state" / "events.db"
        self._config = folder / "hard.toml"
        self._prefix = prefix
        self._process = None
        now_ns = time.time_ns()
        given = {
            "decision": RESTLESS,
            "host": "127.0.0.1",
            "streams": 4,
            "speed": 25.0,
            "seconds": FOR_EVER_S,
            "present_s": 1.0,
            "absent_s": 0.0,
            "message_s": 1,
            "keepalive_s": 20,
            "begin_ns": now_ns + NS_PER_S,
            "data_ns": now_ns - int(ago_s * NS_PER_S),
        } | options
        self._config.write_text(
            CONFIG.format(folder=folder, port=port, extra=extra, **given), "utf-8"
        )
        write_motion(folder / "motion.npz", archive, piece_s, trials)
        installed = folder / "plugins" / "hard_faults-0.dist-info"
        installed.mkdir(parents=True)
        about = "Metadata-Version: 2.1\nName: hard-faults\nVersion: 0\n"
        (installed / "METADATA").write_text(about)
        (installed / "entry_points.txt").write_text(ENTRY_POINTS)

    def start(self):
        """Start the daemon; it is at work once its control socket answers."""
        path = os.pathsep.join([str(self.folder / "plugins"), str(ROOT)])
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "hard", "run", "-c", str(self._config)],
                stderr=log,
                env=os.environ | {"PYTHONPATH": path},
            )
        return self

    @property
    def pid(self):
        return self._process.pid

    def has_ended(self):
        return self._process.poll() is not None

    def kill(self):
        """As the OOM killer would."""
        self._process.kill()
        self._process.wait()

    def freeze(self):
        """Stop every thread of it, also one that is in a system call."""
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        until(
            lambda: all(
                (task / "stat").read_text("utf-8").rpartition(") ")[2].startswith("T")
                for task in tasks.iterdir()
            )
        )

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self, timeout_s=15.0):
        """Send SIGTERM; return exit status and the seconds it took."""
        began_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s), time.monotonic() - began_s

    def send_nothing_more(self):
        """Let the wearers have ended at the next start: it delivers what waits, and that is all."""
        text = self._config.read_text("utf-8")
        self._config.write_text(re.sub(r"(?m)^seconds = .*$", "seconds = 0.0", text), "utf-8")

    def left(self):
        """Return how many events the broker's sink had not confirmed when the daemon ended."""
        with closing(sqlite3.connect(f"file:{self.events}?mode=ro", uri=True)) as db:
            (n,) = db.execute(
                "SELECT count(*) FROM events WHERE seq > "
                "(SELECT coalesce(max(seq), 0) FROM cursors WHERE sink = 'broker')"
            ).fetchone()
        return n

    def is_done(self):
        """Tell whether the daemon runs and the broker's sink has all that it decided."""
        try:
            sinks = self.status()["sinks"]
        except ControlError:
            return False
        return all(sink["backlog"] == 0 for sink in sinks if sink["name"] == "broker")

    def close(self):
        if self._process is not None and not self.has_ended():
            self.kill()

    def status(self):
        return ask(places(self.folder / "state", self._config), self._config, "status")

    def said(self, text=None):
        """Return the log, or whether it holds a text."""
        found = self.log.read_text("utf-8")
        return found if text is None else text in found

    def counts(self):
        """Return what was counted, as the log says at the end of the last run."""
        told = re.findall(r"counted: (.+)", self.said())
        pairs = (pair.rsplit(" ", 1) for pair in (told[-1].split(", ") if told else ()))
        return {name: int(n) for name, n in pairs}

    def usage(self):
        """Return (threads, open files, resident kB) of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        threads = int(re.search(r"Threads:\s+(\d+)", status)[1])
        resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        return threads, len(list(Path(f"/proc/{self.pid}/fd").iterdir())), resident


def figure(port, name):
    """Return the sum of a family of the metrics that a daemon serves on `port`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, values))


def wait_for(condition, seconds, installation):
    """As `until`, and with the daemon's log where it did not happen or the daemon ended."""
    try:
        until(lambda: condition() or installation.has_ended(), seconds)
        assert condition()
    except AssertionError as error:
        raise AssertionError(f"not within {seconds} s:\n{installation.said()[-3000:]}") from error
