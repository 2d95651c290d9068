"""The daemon as a process: `hard run` against a real broker, as a phone and a reader see it."""

import itertools
import json
import random
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from hard.api import NS_PER_S, SampleBatch
from tests.broker import Broker
from tests.calling import Forked, hard

EPOCH_NS = 1_750_000_000_123_456_789
OF_DELIVERY = {"seq", "late", "t_published", "t_published_ns", "latency_ms"}
TOPIC = "sensor-logger"


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.close()


class Phone:
    """A Sensor Logger on an iPhone: gravity apart, the sign turned, a message a second."""

    def __init__(self, port, device="phone-1"):
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._device = device

    def say(self, text):
        self._client.publish(TOPIC, text).wait_for_publish(5)

    def send(self, number, sensors):
        payload = [
            {"name": name, "time": int(t), "values": dict(zip("xyz", map(float, v), strict=True))}
            for name, (times, values) in sensors.items()
            for t, v in zip(times, values, strict=True)
        ]
        random.Random(number).shuffle(payload)
        body = {"messageId": number, "sessionId": "s", "deviceId": self._device}
        self.say(json.dumps({**body, "payload": payload}))

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # else paho leaves them to the garbage collector


def a_walk(make_source, seconds_of):
    """Return sensor -> (t, float values) of a simulated wearer as an iPhone reports it."""
    batches = {"accel": [], "gyro": []}

    def emit(message):
        for item in message:
            if isinstance(item, SampleBatch):
                batches[item.sensor].append(item)

    script = [f"{activity}:{seconds}" for activity, seconds in seconds_of]
    make_source(script).run(emit, _never())
    t = np.concatenate([b.t for b in batches["accel"]])
    t = t - t[0] + EPOCH_NS
    accel = np.concatenate([b.values for b in batches["accel"]]).astype(np.float64)
    gyro = np.concatenate([b.values for b in batches["gyro"]]).astype(np.float64)
    gravity = np.tile([0.1, 9.7, 1.0], (len(t), 1))
    return {
        "accelerometer": (t, -(accel - gravity)),
        "gravity": (t, -gravity),
        "gyroscope": (t + 3_000_000, gyro),
    }


def as_export(folder, sensors, platform="ios"):
    """Write what Sensor Logger would export of the same walk."""
    folder.mkdir()
    names = {"accelerometer": "Accelerometer", "gravity": "Gravity", "gyroscope": "Gyroscope"}
    for sensor, name in names.items():
        t, values = sensors[sensor]
        rows = [
            f"{ns},{(ns - int(t[0])) / 1e9!r},{z!r},{y!r},{x!r}"
            for ns, (x, y, z) in zip(t.tolist(), values.tolist(), strict=True)
        ]
        text = "\n".join(["time,seconds_elapsed,z,y,x", *rows, ""])
        (folder / f"{name}.csv").write_text(text, "utf-8")
    (folder / "Metadata.csv").write_text(f"platform,standardisation\n{platform},false\n", "utf-8")
    return folder


def messages(sensors):
    """Cut into messages of about a second, numbered."""
    begin = min(int(t[0]) for t, _ in sensors.values())
    end = max(int(t[-1]) for t, _ in sensors.values())
    for number, start in enumerate(range(begin, end + 1, NS_PER_S)):
        part = {}
        for name, (t, values) in sensors.items():
            inside = (t >= start) & (t < start + NS_PER_S)
            if inside.any():
                part[name] = (t[inside], values[inside])
        yield number, part


def disordered(numbered, seed):
    """Swap neighbours and repeat some, within the delay that phones are allowed."""
    rng = random.Random(seed)
    order = sorted(numbered, key=lambda item: item[0] + rng.uniform(0, 1.8))
    return [item for item in order for _ in range(1 + (rng.random() < 0.15))]


def _never():
    import threading  # noqa: PLC0415 - only here

    return threading.Event()


@pytest.fixture
def simulator():
    from hard.plugins import create  # noqa: PLC0415 - the entry points are the way in

    def make(script):
        table = {"plugin": "simulator", "script": script, "realtime": False, "seed": 3}
        return create("sources", "sim", table, "test")

    return make


@contextmanager
def daemon(folder, port, extra=""):
    """Run `hard run` with an MQTT source and two sinks; yield the process."""
    config = folder / "hard.toml"
    config.write_text(
        f"""
[hard]
node = "test"
state_dir = "{folder}/state"

[sources.phone]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
topics = ["{TOPIC}"]
platform = "ios"

[sinks.file]
plugin = "jsonl"
path = "{folder}/events.jsonl"

[sinks.broker]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
{extra}
""",
        "utf-8",
    )
    log = (folder / "log.txt").open("a+", encoding="utf-8")
    process = Forked("run", "-c", config, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def until(condition, seconds=20.0):
    """Wait for a condition of the outside world, looking often."""
    end = time.monotonic() + seconds
    pause = _never()
    while time.monotonic() < end:
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen in time")


def said(folder, text):
    path = folder / "log.txt"
    return path.exists() and text in path.read_text("utf-8")


def listening(folder, phone):
    """Return once the daemon's first run hears the phone: it says so of what it can't read."""

    def heard():
        phone.say("Tap to test")
        return said(folder, "not_json")

    until(heard)


def events_of(path: Path):
    """Return the events whose lines are whole: whoever writes may be in the middle of one."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text("utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def comparable(events):
    """Drop what belongs to delivery, and the reason why the last bout ended."""
    kept = [{k: v for k, v in event.items() if k not in OF_DELIVERY} for event in events]
    for event in reversed(kept):
        if event["event_type"] == "exit":
            event["reason"] = None
            break
    return [json.dumps(event) for event in kept]


def replayed(export, *options):
    done = hard("replay", "--json", export, *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def live_events(folder, port, sensors, *, seed, speed=50):
    phone = Phone(port)
    with daemon(folder, port) as process:
        listening(folder, phone)
        begin = time.monotonic()
        pause = _never()
        for i, (number, part) in enumerate(disordered(messages(sensors), seed)):
            pause.wait(max(0.0, begin + i / speed - time.monotonic()))
            phone.send(number, part)
        phone.say("[]")  # what was sent before has been taken once this is refused
        until(lambda: said(folder, "unknown_shape"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    phone.close()
    return events_of(folder / "events.jsonl")


def _busy(process):
    """Tell whether the process works, or waits for a processor, within three tenths of a second."""

    def used():
        return sum(map(int, _stat(f"/proc/{process.pid}/stat")[11:13]))

    before = used()
    for _ in range(3):
        _never().wait(0.1)
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        if any(_stat(thread / "stat")[0] in {"R", "D"} for thread in threads):
            return True
    return used() - before > 2


def _stat(path):
    """Return the fields behind a program's name, proc(5): its state first."""
    return Path(path).read_text("utf-8").rpartition(")")[2].split()


WALK = [("standing", 20), ("walking", 40), ("sitting", 30), ("walking", 30), ("running", 20)]


@pytest.mark.fast_fault("F16")
@pytest.mark.parametrize("seed", [1, 2])
def test_live_gives_the_events_of_the_replay_byte_for_byte(tmp_path, broker, simulator, seed, tell):
    sensors = a_walk(simulator, WALK)
    expected = replayed(as_export(tmp_path / "phone-1", sensors))
    live = live_events(tmp_path, broker.port, sensors, seed=seed)
    assert len(expected) > 8
    assert comparable(live) == comparable(expected)
    assert [e["seq"] for e in live] == sorted({e["seq"] for e in live})
    tell(f"{len(expected)} events made, {len(live)} delivered, 0 of them again, 0 lost")


@pytest.mark.recordings
def test_a_real_recording_live_gives_the_events_of_its_replay(tmp_path, broker, motionsense):
    sensors = as_iphone(motionsense, subject=9, trials=["std_6", "wlk_7", "sit_5", "jog_9"])
    expected = replayed(as_export(tmp_path / "phone-1", sensors))
    live = live_events(tmp_path, broker.port, sensors, seed=7)
    assert len(expected) > 6
    assert comparable(live) == comparable(expected)


@pytest.fixture
def motionsense(recordings):
    path = recordings / "motionsense.zip"
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def as_iphone(archive, subject, trials):
    """Return trials of a MotionSense person as Sensor Logger on an iPhone would send them."""
    import csv  # noqa: PLC0415
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    rows = []
    with zipfile.ZipFile(archive) as zipped:
        for trial in trials:
            name = f"A_DeviceMotion_data/{trial}/sub_{subject}.csv"
            rows += list(csv.DictReader(io.TextIOWrapper(zipped.open(name), "utf-8")))[:4000]

    def triple(prefix, scale):
        return np.array([[float(r[f"{prefix}.{a}"]) * scale for a in "xyz"] for r in rows])

    t = EPOCH_NS + np.arange(len(rows), dtype=np.int64) * 20_000_000
    return {
        "accelerometer": (t, triple("userAcceleration", 9.80665)),
        "gravity": (t, triple("gravity", 9.80665)),
        "gyroscope": (t, triple("rotationRate", 1.0)),
    }


@pytest.mark.fast_fault("F10")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_closes_every_bout_and_delivers_everything(
    tmp_path, broker, simulator, how, tell
):
    sensors = a_walk(simulator, WALK)
    watcher = broker.watch("hard/test/#")
    phone = Phone(broker.port)
    with daemon(tmp_path, broker.port) as process:
        listening(tmp_path, phone)
        for number, part in messages(sensors):
            phone.send(number, part)
            if number > 20 and number % 20 == 0:
                until(lambda: events_of(tmp_path / "events.jsonl"))
            if number == 100:
                break
        begin = time.monotonic()
        process.send_signal(how)
        assert process.wait(10) == 0
        took_s = time.monotonic() - begin
        assert took_s < 5
    phone.close()
    events = events_of(tmp_path / "events.jsonl")
    entered = [e["bout"] for e in events if e["event_type"] == "enter"]
    left = [e["bout"] for e in events if e["event_type"] == "exit"]
    assert entered
    assert sorted(entered) == sorted(left)
    assert events[-1]["reason"] == "shutdown"
    seen = {}
    until(lambda: _collect(watcher, seen) and len(seen) >= len(events), 5)
    assert set(seen) == {e["id"] for e in events}
    tell(f"{len(events)} events made, {len(seen)} delivered, 0 lost; ended after {took_s:.1f} s")


def _collect(watcher, seen):
    for topic, payload, _ in watcher.all_seen():
        if topic.endswith("/event"):
            body = json.loads(payload)
            seen[body["id"]] = body
    return True


def test_a_broker_absent_at_the_start_and_restarted_between_is_found_again(
    tmp_path, broker, simulator
):
    sensors = a_walk(simulator, [("walking", 60), ("sitting", 60)])
    parts = list(messages(sensors))
    broker.kill()
    with daemon(tmp_path, broker.port) as process:
        until(lambda: said(tmp_path, "127.0.0.1"))
        broker.start()
        phone = Phone(broker.port)
        listening(tmp_path, phone)
        for number, part in parts[:40]:
            phone.send(number, part)
        until(lambda: any(e["activity"] == "walking" for e in events_of(tmp_path / "events.jsonl")))
        phone.close()
        broker.kill()
        broker.start()
        phone = Phone(broker.port)
        for number, part in parts[40:]:
            phone.send(number, part)
        goes_on = sitting_on(parts)
        until(lambda: _resumed(phone, goes_on, tmp_path), 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        phone.close()
    assert not said(tmp_path, "Traceback")


def sitting_on(parts):
    """Yield what a wearer who stays seated goes on sending: the walk's last minute, ever later."""
    for minute in itertools.count(1):
        later = minute * 60
        for number, part in parts[60:]:
            moved = {name: (t + later * NS_PER_S, v) for name, (t, v) in part.items()}
            yield number + later, moved


def _resumed(phone, goes_on, folder):
    """Send another quarter of a minute; tell whether the daemon has heard enough of it."""
    for number, part in itertools.islice(goes_on, 15):
        phone.send(number, part)
    return any(e["activity"] == "sitting" for e in events_of(folder / "events.jsonl"))
