"""Many wearers at once, and an account of every sample: a load test, run as a command.

    python tests/load/streams.py --streams 200 --seconds 60 --rate 50 --disorder 0.1

    wearers (this process) -> mosquitto -> hard run -> events.jsonl
        what was sent, and          status, counters          compared with a pipeline that was
        how often                                             fed the same in order, here

Each simulated wearer publishes a message a second, every other one as Sensor Logger, the rest as
plain JSON; some messages come behind the next one, some twice.  Exit status 1 if the counters do
not explain where a sample went, or if nothing but copies was dropped and yet the daemon's events
are not, byte for byte, those of the same samples in order.  Drops that were counted are shown and
no failure.  Not a test of the suite: it takes a minute and the whole machine.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from hard.api import NS_PER_S
from hard.classifier import TFLiteClassifier
from hard.config import Settings
from hard.control import MAX_STREAMS, ask, places
from hard.pipeline import Pipeline
from hard_formats.messages import Options, decode
from hard_simulator.model import Bout, Motion, Wearer

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.broker import Broker

ACTIVITIES = ("walking", "standing", "upstairs", "sitting", "running", "downstairs")
BOUT_S = 12.0
SWAPPED_S = 1.001
"""Just behind the wearer's next message."""
OF_DELIVERY = {"seq", "late", "t_published", "t_published_ns", "latency_ms"}
OF_SAMPLES = {"bad_time", "wrong_type", "not_finite", "unit_unknown"}
"""What the mqtt source counts by the sample; it counts messages by the other words."""
NOTHING_DROPPED = {"outages", "bugs", "jump", "evicted", "low_coverage", "rate_change"}
"""What is counted beside samples."""
COMPLAINTS = 5
BUSY_S = 0.3
SETTLED_S = 8.0
"""So long the daemon may take to catch up: less than what makes silence of the streams."""
CONFIG = """
[hard]
node = "load"
state_dir = "{folder}/state"

[sources.phones]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
topics = ["sensors/{{stream}}"]

[sinks.file]
plugin = "jsonl"
path = "{folder}/events.jsonl"
"""


# -- what is sent ---------------------------------------------------------------------------------


class Sender:
    """One wearer: a message for each second, written before the start but for its times."""

    def __init__(self, index: int, phase_s: float, seconds: int, rate_hz: int) -> None:
        self.name = f"wearer-{index:03d}"
        self.phase_s = phase_s
        self.topic = f"sensors/{self.name}"
        rng = np.random.default_rng(index)
        script = islice(cycle(ACTIVITIES), index, None)
        bouts = (Bout(activity, BOUT_S) for activity in script)
        motion = Motion(Wearer.draw("pocket", rng), bouts, float(rate_hz), rng)
        body = _sensor_logger if index % 2 else _plain
        self._templates = [
            json.dumps(body(number, *(v.round(4).astype(float).tolist() for v in values)))
            .replace('"@"', "%d")
            .encode()
            for number, values in enumerate(motion.read(rate_hz) for _ in range(seconds))
        ]
        period_ns = NS_PER_S // rate_hz
        accel_ns = [i * period_ns for i in range(rate_hz)]
        both_ns = [t for t_ns in accel_ns for t in (t_ns, t_ns + period_ns // 3)]
        self._times_ns = both_ns if index % 2 else accel_ns

    def payload(self, second: int, begin_ns: int) -> bytes:
        """Return the message of a second, on the clock of a run that began at `begin_ns`."""
        start_ns = begin_ns + int(self.phase_s * NS_PER_S) + second * NS_PER_S
        return self._templates[second] % tuple(start_ns + t_ns for t_ns in self._times_ns)


def _plain(_number, accel, gyro):
    columns = {"t": ["@"] * len(accel)}
    for sensor, rows in (("accel", accel), ("gyro", gyro)):
        for axis, column in zip("xyz", zip(*rows, strict=True), strict=True):
            columns[f"{sensor}_{axis}"] = column
    return columns


def _sensor_logger(number, accel, gyro):
    entries = [
        {"name": name, "time": "@", "values": dict(zip("xyz", xyz, strict=True))}
        for rows in zip(accel, gyro, strict=True)
        for name, xyz in zip(("totalacceleration", "gyroscope"), rows, strict=True)
    ]
    return {"messageId": number, "sessionId": "load", "deviceId": "phone", "payload": entries}


@dataclass
class Plan:
    """When (s since the start) which wearer's second is sent, and how often out of turn."""

    sendings: list[tuple[float, int, int]] = field(default_factory=list)
    swapped: int = 0
    copies: int = 0

    def add(self, index: int, due_s: float, second: int, disorder: float, rng) -> None:
        """Plan a message: as it should be, behind the next one, or twice (at once or later)."""
        fate = rng.random() / disorder if disorder else 1.0
        if fate < 0.5:
            self.swapped += 1
            due_s += SWAPPED_S
        elif fate < 1.0:
            self.copies += 1
            self.sendings.append((due_s + rng.choice((0.0, SWAPPED_S)), index, second))
        self.sendings.append((due_s, index, second))


def planned(senders, seconds, disorder):
    plan, rng = Plan(), random.Random(0)
    for index, sender in enumerate(senders):
        for second in range(seconds):
            plan.add(index, sender.phase_s + second + 1, second, disorder, rng)
    plan.sendings.sort()
    return plan


def publish(plan, senders, port, begin_ns):
    """Send everything when it is due; return by how much the latest was late, s."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    pause, latest_s = threading.Event(), 0.0
    shift_s = time.time() - time.monotonic()
    for due_s, index, second in plan.sendings:
        due_at_s = begin_ns / NS_PER_S - shift_s + due_s
        if (left_s := due_at_s - time.monotonic()) > 0:
            pause.wait(left_s)
        latest_s = max(latest_s, time.monotonic() - due_at_s)
        sender = senders[index]
        sent = client.publish(sender.topic, sender.payload(second, begin_ns))
    sent.wait_for_publish(10.0)
    client.disconnect()
    client.loop_stop()
    return latest_s


# -- what became of it ----------------------------------------------------------------------------


class Daemon:
    """`hard run` as a process of its own, with its state and its events in `folder`.

    `more` is added to its configuration.
    """

    def __init__(self, folder: Path, port: int, more: str = "") -> None:
        self._config = folder / "hard.toml"
        self._config.write_text(CONFIG.format(folder=folder, port=port) + more, "utf-8")
        self._state = folder / "state"
        self._log = folder / "log.txt"
        self._events = folder / "events.jsonl"
        with self._log.open("w", encoding="utf-8") as log:
            command = [sys.executable, "-m", "hard", "run", "-c", str(self._config)]
            self._process = subprocess.Popen(command, stderr=log)
        if not until(lambda: "listening on" in self._log.read_text("utf-8"), 30.0):
            self.kill()
            raise SystemExit(f"the daemon does not listen:\n{self._log.read_text('utf-8')}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def arrived(self) -> int:
        """Return the samples that came in, by the control socket."""
        status = ask(places(self._state, self._config), self._config, "status")
        return sum(sum(stream["samples"].values()) for stream in status["streams"])

    def peak_rss_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text("utf-8")
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return exit status and the seconds it took."""
        began_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30.0), time.monotonic() - began_s

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def counts(self) -> Counter[str]:
        """Return what it counted, as its log says at the end."""
        told = re.findall(r"counted: (.+)", self._log.read_text("utf-8"))
        pairs = (pair.rsplit(" ", 1) for pair in (told[-1].split(", ") if told else ()))
        return Counter({name: int(n) for name, n in pairs})

    def complaints(self) -> list[str]:
        lines = self._log.read_text("utf-8").splitlines()
        return [line for line in lines if re.search("WARNING|ERROR|CRITICAL|Traceback", line)]

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self._events.read_text("utf-8").splitlines()]


def until(condition, timeout_s):
    """Wait for a condition of the outside world; return whether it came."""
    end_s, pause = time.monotonic() + timeout_s, threading.Event()
    while not (met := condition()) and time.monotonic() < end_s:
        pause.wait(0.1)
    return met


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(pid):
    """Tell whether a process used less than a tenth of a core for a moment."""
    before_s = cpu_s(pid)
    threading.Event().wait(BUSY_S)
    return cpu_s(pid) - before_s < 0.1 * BUSY_S


def dropped_by_broker(broker, n_sent):
    """Return the messages that mosquitto dropped, once it says that it has had all (each 10 s)."""
    figures = Counter()

    def note(topic, payload, _retained):
        figures[topic.rpartition("/")[2]] = int(payload)

    watcher = broker.watch("$SYS/broker/publish/messages/#")
    with contextlib.suppress(queue.Empty):
        while figures["received"] < n_sent:
            note(*watcher.next(12.0))
    for message in watcher.all_seen():  # what it said in the same breath
        note(*message)
    return figures["dropped"]


def in_order(senders, seconds, begin_ns):
    """Feed a pipeline the same samples in order; return its events, and its windows' number."""
    settings, windows = Settings(), []
    model = TFLiteClassifier.load(settings.model.name)
    pipeline = Pipeline(
        lambda _: (model, settings.decision), watch=lambda batch: windows.append(len(batch.windows))
    )
    events = []
    for sender in senders:
        for second in range(seconds):
            payload = sender.payload(second, begin_ns)
            events += pipeline.feed(decode(payload, Options(), named=sender.name).message)
    events += pipeline.finish("shutdown")
    return [event.payload() for event in events], sum(windows)


def by_stream(events):
    streams = {}
    for event in events:
        body = {key: value for key, value in event.items() if key not in OF_DELIVERY}
        streams.setdefault(event["stream"], []).append(json.dumps(body))
    return streams


# -- the account ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """Where the samples went; all figures are samples unless their name says messages."""

    per_message: int
    sent: int
    copied: int
    arrived: int
    broker_messages: int
    counts: Counter[str]

    @property
    def by_broker(self) -> int:
        return self.broker_messages * self.per_message

    @property
    def refused(self) -> int:
        """What the source left out: whole messages, and samples of others."""
        own = self._counted("phones.")
        return sum(n if r in OF_SAMPLES else n * self.per_message for r, n in own.items())

    @property
    def by_inbox(self) -> int:
        return self.counts["inbox.dropped_samples"]

    @property
    def by_pipeline(self) -> int:
        """What the pipeline dropped, copies included."""
        return self._counted("pipeline.").total()

    @property
    def missing(self) -> int:
        """What was sent and neither came in nor was counted on its way."""
        return self.sent - self.by_broker - self.refused - self.arrived

    @property
    def used(self) -> int:
        return self.arrived - self.by_inbox - self.by_pipeline

    @property
    def lost(self) -> int:
        """What was sent and not used, copies apart."""
        return self.sent - self.copied - self.used

    def faults(self) -> list[str]:
        """Return what does not add up."""
        faults = [f"{name} {n}" for name, n in self.counts.items() if name.endswith(".bugs")]
        if self.missing:
            faults.append(f"{self.missing} samples were sent, did not come in and were not counted")
        repeated = self.counts["pipeline.duplicate"] + self.counts["pipeline.late"]
        others = self.by_broker + self.refused + self.by_inbox + self.by_pipeline - repeated
        if not self.copied - others <= repeated <= self.copied:
            faults.append(
                f"{repeated} samples were dropped as duplicate or late, where {self.copied} were "
                f"sent twice, none too late, and {others} dropped for other reasons"
            )
        return faults

    def _counted(self, prefix: str) -> Counter[str]:
        own = {name for name in self.counts if name.startswith(prefix)}
        named = {name.removeprefix(prefix): self.counts[name] for name in own}
        return Counter({name: n for name, n in named.items() if name not in NOTHING_DROPPED})


def told(account):
    """Yield the account as names and values."""
    yield "samples sent", account.sent
    yield "  copies among them", account.copied
    yield "  dropped by the broker", account.by_broker
    yield "  refused by the source", account.refused
    yield "  unaccounted for", account.missing
    yield "samples arrived", account.arrived
    yield "  dropped by the inbox", account.by_inbox
    yield "  dropped by the pipeline", account.by_pipeline
    yield "samples used", account.used
    yield "samples lost, copies apart", account.lost
    for name, n in sorted(account.counts.items()):
        yield f"counted {name}", n


@dataclass(frozen=True)
class Run:
    """What was seen of one run; times in seconds."""

    begin_ns: int
    took_s: float
    behind_s: float
    daemon_cpu_s: float
    own_cpu_s: float
    arrived: int
    peak_rss_mb: float
    stop_ns: int
    stopped_s: float
    exit_status: int
    broker_messages: int
    events: list[dict]
    counts: Counter[str]
    complaints: list[str]

    def latencies_s(self):
        """Return p50 and p99 of t_published - t_decided, of the events before the stop."""
        found = [e["latency_ms"] / 1000 for e in self.events if e["t_published_ns"] < self.stop_ns]
        return np.percentile(found, (50, 99)) if found else (np.nan, np.nan)


def run(senders, plan, n_samples):
    """Publish to a broker and a daemon of the run's own, and stop them."""
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="hard-load-")))
        broker = Broker(folder)
        opened.callback(broker.close)
        broker.start()
        daemon = Daemon(folder, broker.port)
        opened.callback(daemon.kill)
        begin_ns, daemon_s, own_s = time.time_ns(), cpu_s(daemon.pid), time.process_time()
        behind_s = publish(plan, senders, broker.port, begin_ns)
        took_s = (time.time_ns() - begin_ns) / NS_PER_S
        daemon_s, own_s = cpu_s(daemon.pid) - daemon_s, time.process_time() - own_s
        until(lambda: daemon.arrived() == n_samples and is_idle(daemon.pid), SETTLED_S)
        arrived, peak_rss_mb, stop_ns = daemon.arrived(), daemon.peak_rss_mb(), time.time_ns()
        exit_status, stopped_s = daemon.stop()
        return Run(
            begin_ns=begin_ns,
            took_s=took_s,
            behind_s=behind_s,
            daemon_cpu_s=daemon_s,
            own_cpu_s=own_s,
            arrived=arrived,
            peak_rss_mb=peak_rss_mb,
            stop_ns=stop_ns,
            stopped_s=stopped_s,
            exit_status=exit_status,
            broker_messages=dropped_by_broker(broker, len(plan.sendings)),
            events=daemon.events(),
            counts=daemon.counts(),
            complaints=daemon.complaints(),
        )


def measured(run, plan, n_samples):
    """Yield the figures of a run as names and values."""
    n, took_s = len(plan.sendings), run.took_s
    p50_s, p99_s = run.latencies_s()
    yield "messages", f"{n}, {n / took_s:.1f} a second for {took_s:.0f} s"
    yield "  behind the next, sent twice", f"{plan.swapped}, {plan.copies}"
    yield "  sent too late by at most", f"{run.behind_s * 1000:.0f} ms"
    yield "samples a second", f"{n_samples / took_s:.0f}"
    yield "CPU of the daemon", f"{run.daemon_cpu_s / took_s:.1%} of a core"
    yield "CPU of the senders", f"{run.own_cpu_s / took_s:.1%} of a core"
    yield "peak RSS of the daemon", f"{run.peak_rss_mb:.0f} MB"
    yield "stopped within", f"{run.stopped_s:.1f} s, exit status {run.exit_status}"
    yield "latency of events, p50, p99", f"{p50_s:.2f} s, {p99_s:.2f} s"


def audited(options):
    """Make a run, print what was found, return what is wrong."""
    senders = [
        Sender(i, i / options.streams, options.seconds, options.rate)
        for i in range(options.streams)
    ]
    plan = planned(senders, options.seconds, options.disorder)
    per_message = 2 * options.rate
    sent, copied = len(plan.sendings) * per_message, plan.copies * per_message
    seen = run(senders, plan, sent)
    account = Account(per_message, sent, copied, seen.arrived, seen.broker_messages, seen.counts)
    expected, n_windows = in_order(senders, options.seconds, seen.begin_ns)
    wanted, found = by_stream(expected), by_stream(seen.events)
    same = sum(found.get(stream) == events for stream, events in wanted.items())
    for name, value in (
        *measured(seen, plan, sent),
        *told(account),
        ("windows in order", n_windows),
        ("events, in order", f"{len(seen.events)}, {len(expected)}"),
        ("streams with the same events", f"{same} of {len(wanted)}"),
    ):
        print(f"{name:<32}{value}")
    for line in seen.complaints[:COMPLAINTS]:
        print(f"log: {line}")
    if len(seen.complaints) > COMPLAINTS:
        print(f"log: and {len(seen.complaints) - COMPLAINTS} more")
    faults = account.faults()
    if seen.exit_status:
        faults.append(f"the daemon ended with exit status {seen.exit_status}")
    if not account.lost and found != wanted:
        faults.append(f"{len(wanted) - same} streams have other events than the same in order")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=50, help="Hz, of both sensors")
    parser.add_argument("--disorder", type=float, default=0.1, help="share of the messages")
    options = parser.parse_args()
    if not 1 <= options.streams <= MAX_STREAMS:
        parser.error(f"--streams: 1 to {MAX_STREAMS}: the daemon shows no more")
    faults = audited(options)
    for fault in faults:
        print(f"FAILED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
