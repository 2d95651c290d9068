"""A million windows of fifty wearers who come and go, fast: a load test, run as a command.

    python tests/load/soak.py --windows 1000000

    wearers (a source in the daemon) -> hard run -> mosquitto

The wearers move as recorded (MotionSense, in $HARD_DATA or ../shared/data; else simulated), as fast
as the pipeline takes it; each is there for 25 minutes, away for 25, and back with its clock further
on.  Their messages hold ten seconds, since most of a message's cost is that it is one.  Exit status
1 if memory grows by 3 %, or if threads or open files are more at the end than at the beginning.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from hard.classifier import runtime_name
from tests.broker import Broker, free_port
from tests.faults.installation import Installation, figure, wait_for
from tests.faults.verifier import in_log
from tests.load.idle import MOST_GROWTH, Look, growth, spread

DATA = Path(os.environ.get("HARD_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
LOOK_S = 5.0
MESSAGE_S = 10
STAY_S = 1500.0
"""Of data: even a hundred times as fast it is longer than the 10 s that make silence."""
MORE = """
[metrics]
port = {port}
"""


def soaked(options: argparse.Namespace) -> tuple[list[Look], float, dict[str, float]]:
    """Run until so many windows were classified; return the looks, the seconds and figures."""
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="hard-soak-")))
        broker = Broker(folder)
        opened.callback(broker.close)
        broker.start()
        port = free_port()
        daemon = Installation(
            folder,
            DATA / "motionsense.zip",
            broker.port,
            extra=MORE.format(port=port),
            decision="",
            streams=options.streams,
            speed=0,
            begin_ns=0,
            present_s=STAY_S,
            absent_s=STAY_S,
            message_s=MESSAGE_S,
            piece_s=20,
        )
        opened.callback(daemon.close)
        daemon.start()
        wait_for(lambda: daemon.events.exists() and in_log(daemon.events) > 0, 60, daemon)
        begun_s, looks, n = time.monotonic(), [], 0.0
        while n < options.windows:
            time.sleep(LOOK_S)
            n = figure(port, "hard_windows_total")
            if n >= options.windows / 10:  # all have been there
                looks.append(Look.at(daemon.pid))
            if sys.stderr.isatty():
                print(f"\r{n:.0f} windows", end="", file=sys.stderr)
        took_s = time.monotonic() - begun_s
        names = ("hard_windows_total", "hard_events_total", "hard_gaps_total")
        figures = {name: figure(port, name) for name in names}
        status, stopped_s = daemon.stop()
        if status or "Traceback" in daemon.said():
            raise SystemExit(f"exit status {status}:\n{daemon.said()[-3000:]}")
        dropped = daemon.counts().get("inbox.dropped_samples", 0)
        return looks, took_s, figures | {"dropped": dropped, "stopped_s": stopped_s}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=50)
    options = parser.parse_args()
    looks, took_s, figures = soaked(options)
    first, last = looks[0], looks[-1]
    (threads, most_threads), (files, most_files) = spread(looks, "threads"), spread(looks, "files")
    n = figures["hard_windows_total"]
    print(f"{'runtime':<32}{runtime_name()}")
    print(f"{'windows':<32}{n:.0f} in {took_s:.0f} s, {n / took_s:.0f} a second")
    print(
        f"{'events, gaps':<32}{figures['hard_events_total']:.0f}, {figures['hard_gaps_total']:.0f}"
    )
    print(f"{'samples dropped':<32}{figures['dropped']}")
    share = (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s)
    print(f"{'CPU':<32}{share:.0%} of a core")
    peak_mb = max(look.rss_mb for look in looks)
    print(f"{'RSS':<32}{first.rss_mb:.1f} to {last.rss_mb:.1f} MB, at most {peak_mb:.1f}")
    print(f"{'growth, last fifth over first':<32}{growth(looks):+.2%}")
    print(f"{'threads, open files':<32}{threads} to {most_threads}, {files} to {most_files}")
    print(f"{'SIGTERM to exit':<32}{figures['stopped_s']:.1f} s")
    faults = {
        f"memory grows by {MOST_GROWTH:.0%} or more": growth(looks) >= MOST_GROWTH,
        "there are more threads at the end": last.threads > first.threads,
        "there are more open files at the end": last.files > first.files,
    }
    for fault in (fault for fault, is_so in faults.items() if is_so):
        print(f"FAILED: {fault}")
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
