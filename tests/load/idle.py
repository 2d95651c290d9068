"""One wearer for half an hour, and what the daemon takes for it: a load test, run as a command.

    python tests/load/idle.py --minutes 30

    a phone (this process) -> mosquitto -> hard run -> mosquitto, events.jsonl

The phone is a simulated wearer's Sensor Logger, 50 Hz, a message a second, in real time.  Exit
status 1 if the daemon takes more of a core or of memory than promised, or if its memory, threads or
files grow.  Best run on a machine that does little else: a busy one makes every second dearer.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from hard.classifier import runtime_name
from tests.broker import Broker
from tests.load.streams import Daemon, Sender, cpu_s, planned, publish

RATE_HZ = 50
MOST_OF_A_CORE = 0.01
MOST_RSS_MB = 120.0
MOST_GROWTH = 0.03
WARM_UP_S = 60.0
LOOK_S = 10.0
SINK = """
[sinks.home]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
"""


@dataclass(frozen=True)
class Look:
    """What a process takes at a moment."""

    at_s: float
    cpu_s: float
    rss_mb: float
    threads: int
    files: int

    @classmethod
    def at(cls, pid: int) -> Look:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        told = dict(line.split(":", 1) for line in lines)
        return cls(
            at_s=time.monotonic(),
            cpu_s=cpu_s(pid),
            rss_mb=int(told["VmRSS"].split()[0]) / 1024,
            threads=int(told["Threads"]),
            files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        )


def growth(looks: list[Look]) -> float:
    """Return by what share memory grew from the first fifth of the looks to the last."""
    n = max(1, len(looks) // 5)
    first = sorted(look.rss_mb for look in looks[:n])[n // 2]
    last = sorted(look.rss_mb for look in looks[-n:])[n // 2]
    return last / first - 1.0


def spread(looks: list[Look], of: str) -> tuple[int, int]:
    """Return the least and the most of something."""
    values = [getattr(look, of) for look in looks]
    return min(values), max(values)


def watched(minutes: float) -> tuple[list[Look], int]:
    """Run phone, broker and daemon for so long; return the looks and the number of events."""
    seconds = int(WARM_UP_S + minutes * 60)
    phone = Sender(1, 0.0, seconds, RATE_HZ)
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="hard-idle-")))
        broker = Broker(folder)
        opened.callback(broker.close)
        broker.start()
        daemon = Daemon(folder, broker.port, SINK.format(port=broker.port))
        opened.callback(daemon.kill)
        looks, over = [], threading.Event()

        def look() -> None:
            if over.wait(WARM_UP_S):
                return
            looks.append(Look.at(daemon.pid))
            while not over.wait(LOOK_S):
                looks.append(Look.at(daemon.pid))

        watcher = threading.Thread(target=look)
        watcher.start()
        publish(planned([phone], seconds, 0.0), [phone], broker.port, time.time_ns())
        over.set()
        watcher.join()
        status, _ = daemon.stop()
        if status:
            raise SystemExit(f"the daemon ended with exit status {status}")
        return looks, len(daemon.events())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="after a minute to warm up")
    options = parser.parse_args()
    looks, n_events = watched(options.minutes)
    first, last = looks[0], looks[-1]
    share = (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s)
    peak_mb = max(look.rss_mb for look in looks)
    (threads, most_threads), (files, most_files) = spread(looks, "threads"), spread(looks, "files")
    print(f"{'runtime':<32}{runtime_name()}")
    print(f"{'minutes, events':<32}{(last.at_s - first.at_s) / 60:.1f}, {n_events}")
    print(f"{'CPU':<32}{share:.2%} of a core")
    print(f"{'RSS':<32}{first.rss_mb:.1f} to {last.rss_mb:.1f} MB, at most {peak_mb:.1f}")
    print(f"{'growth, last fifth over first':<32}{growth(looks):+.2%}")
    print(f"{'threads, open files':<32}{threads} to {most_threads}, {files} to {most_files}")
    faults = {
        f"it takes {MOST_OF_A_CORE:.0%} of a core or more": share >= MOST_OF_A_CORE,
        f"it takes {MOST_RSS_MB:g} MB or more": peak_mb >= MOST_RSS_MB,
        f"memory grows by {MOST_GROWTH:.0%} or more": growth(looks) >= MOST_GROWTH,
        "threads come and do not go": most_threads > threads,
        "files are opened and not closed": most_files > files,
    }
    for fault in (fault for fault, is_so in faults.items() if is_so):
        print(f"FAILED: {fault}")
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
