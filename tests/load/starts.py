"""From start to READY=1, and from SIGTERM to the end: a load test, run as a command.

    python tests/load/starts.py --times 11

    a phone and a wearer (simulated, in the daemon) -> hard run -> mosquitto

One run after the other, each stopped once the broker was told what the wearer does.  This process
is the service manager.  Told are the median and the most, by the clock and by the processor: others
on the same machine make the clock's longer, the processor's less so (`chrt -f 1` before the
command, as root, lets the daemon have a core when it wants one).  Exit status 1 if the median is
over what is promised.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))
from hard.classifier import runtime_name
from tests.broker import Broker, Watcher
from tests.load.streams import cpu_s

MOST_S = {"ready_s": 1.5, "exit_s": 3.0}
PATIENCE_S = 60.0
CONFIG = """
[hard]
node = "starts"
state_dir = "{folder}/state"

[sources.phone]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
platform = "android"

[sources.wearer]
plugin = "simulator"

[sinks.home]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
"""


@dataclass(frozen=True)
class Run:
    """What a start and a stop took, s."""

    ready_s: float
    ready_cpu_s: float
    exit_s: float
    exit_cpu_s: float


def started_and_stopped(folder: Path, manager: socket.socket, watcher: Watcher) -> Run:
    """Start the daemon, wait until the broker knows what the wearer does, stop it."""
    command = [sys.executable, "-m", "hard", "run", "-c", str(folder / "hard.toml")]
    environment = os.environ | {"NOTIFY_SOCKET": manager.getsockname()}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
    log = folder / "log.txt"
    with log.open("w", encoding="utf-8") as file:
        began_s = time.monotonic()
        daemon = subprocess.Popen(command, stderr=file, env=environment)
    try:
        while b"READY=1" not in manager.recv(4096).split(b"\n"):
            pass
        ready_s, ready_cpu_s = time.monotonic() - began_s, cpu_s(daemon.pid)
        while not watcher.next(PATIENCE_S)[0].endswith("/state"):
            pass
        before_s, began_s = cpu_s(daemon.pid), time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        _, status, used = os.wait4(daemon.pid, 0)
        exit_s = time.monotonic() - began_s
        daemon.returncode = os.waitstatus_to_exitcode(status)
    finally:
        daemon.kill()
    if daemon.returncode:
        raise SystemExit(f"exit status {daemon.returncode}:\n{log.read_text('utf-8')}")
    watcher.all_seen()  # what it said at its end
    return Run(ready_s, ready_cpu_s, exit_s, used.ru_utime + used.ru_stime - before_s)


def measured(times: int) -> list[Run]:
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="hard-starts-")))
        broker = Broker(folder)
        opened.callback(broker.close)
        broker.start()
        (folder / "hard.toml").write_text(CONFIG.format(folder=folder, port=broker.port), "utf-8")
        manager = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(str(folder / "notify"))
        manager.settimeout(PATIENCE_S)
        watcher = broker.watch("hard/starts/+/state")
        return [started_and_stopped(folder, manager, watcher) for _ in range(times)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=11)
    options = parser.parse_args()
    runs = measured(options.times)
    told = {
        "ready_s": "start to READY",
        "ready_cpu_s": "  of it processor",
        "exit_s": "SIGTERM to exit",
        "exit_cpu_s": "  of it processor",
    }
    print(f"{'runtime':<32}{runtime_name()}")
    print(f"{'load of the machine, cores':<32}{os.getloadavg()[0]:.1f}, {os.cpu_count()}")
    failed = []
    for name in (field.name for field in fields(Run)):
        values = [getattr(run, name) for run in runs]
        print(f"{told[name]:<32}{median(values):.2f} s, at most {max(values):.2f}")
        if median(values) >= MOST_S.get(name, PATIENCE_S):
            failed.append(f"{told[name]} takes {MOST_S[name]:g} s or more")
    for fault in failed:
        print(f"FAILED: {fault}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
