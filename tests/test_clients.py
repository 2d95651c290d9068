"""One recording as eight clients would send it, each its own way: the same timeline from each.

Unit, sign, rate, jitter, clock, cut and order are the client's; the numbers go through the real
encodings and decoders, the arrival times are made up (the pipeline reads no clock).
"""

import csv
import io
import json
import threading
import zipfile
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, SampleBatch
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.pipeline import Pipeline
from hard.resampling import taps_for
from hard_file.recognition import open_recording
from hard_formats.messages import Options, decode
from hard_formats.text_lines import Text, TextOptions
from hard_formats.witmotion import Wt901
from hard_serial.device import Device
from hard_simulator.source import SimulatorConfig, SimulatorSource

T0_NS = 1_700_000_000 * NS_PER_S
BOOT_NS = T0_NS - 54_321 * NS_PER_S
PERIOD_NS = NS_PER_S // 50
MS = 1_000_000


class Signal:
    """A recording at 50 Hz that can be asked for at any time: total, gravity and turning."""

    def __init__(self, accel, gyro):
        self.columns = np.hstack([accel, gyro])
        self.t = T0_NS + PERIOD_NS * np.arange(len(accel), dtype=np.int64)

    def at(self, rate_hz, offset_ns=0):
        """Return stamps and float64[n, 6] at an even rate."""
        reach = 10 * PERIOD_NS
        period_ns = round(NS_PER_S / rate_hz)
        t = np.arange(self.t[0] + reach + offset_ns, self.t[-1] - reach, period_ns)
        values = np.zeros((len(t), 6))
        for begin in range(0, len(t), 4096):
            part = t[begin : begin + 4096]
            taps = taps_for(self.t, part, PERIOD_NS)
            values[begin : begin + 4096] = taps.apply(self.columns)
        return t, values


def parts_of(t, length_ns):
    """Yield index ranges of stretches of a recording."""
    edges = np.searchsorted(t, np.arange(t[0], t[-1] + length_ns, length_ns))
    for a, b in pairwise(edges.tolist()):
        if b > a:
            yield slice(a, b)


def delayed(parts, rng, *, least_ms=2.0, mean_ms=30.0):
    """Return (arrival, payload) in order of arrival; a part arrives after its newest sample."""
    arrivals = [
        (int(newest + (least_ms + min(rng.exponential(mean_ms), 2500)) * MS), payload)
        for newest, payload in parts
    ]
    return sorted(arrivals, key=lambda arrival: arrival[0])


def received(arrivals, **options):
    """Yield the messages that a source would make of payloads."""
    for t_received_ns, payload in arrivals:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        yield decode(body, Options(**options), named="phone", t_received_ns=t_received_ns).message


def entries(name, t, values):
    return [
        {"name": name, "time": int(at), "values": dict(zip("xyz", map(float, row), strict=True))}
        for at, row in zip(t, values, strict=True)
    ]


def sensor_logger_ios(signal, rng):
    """100 Hz, linear acceleration and gravity apart, iOS signs, messages swapped and repeated."""
    sensors = {}
    for name, offset_ms in (("accelerometer", 0.0), ("gravity", 3.1), ("gyroscope", 1.7)):
        t, values = signal.at(100.0, round(offset_ms * MS))
        total, turning = values[:, :3], values[:, 3:]
        gravity = np.tile(np.float64([0, 0, STANDARD_GRAVITY_M_S2]), (len(t), 1))
        chosen = {"accelerometer": gravity - total, "gravity": -gravity, "gyroscope": turning}
        sensors[name] = (t, chosen[name])
    made = []
    t = sensors["accelerometer"][0]
    for number, begin in enumerate(range(int(t[0]), int(t[-1]), NS_PER_S)):
        payload = []
        for name, (at, values) in sensors.items():
            inside = (at >= begin) & (at < begin + NS_PER_S)
            payload += entries(name, at[inside], values[inside])
        body = {"messageId": number, "sessionId": "s", "deviceId": "d", "payload": payload}
        made.append((begin + NS_PER_S, body))
    twice = [made[i] for i in rng.choice(len(made), len(made) // 10, replace=False)]
    return received(delayed([*made, *twice], rng, mean_ms=500.0), platform="ios")


def sensor_logger_android(signal, rng):
    """67 Hz, total acceleration, stamps that jitter by a millisecond."""
    t, values = signal.at(67.0)
    stamps = t + np.rint(rng.normal(scale=0.5 * MS, size=len(t))).astype(np.int64)
    made = [
        (
            int(t[part][-1]),
            {
                "messageId": number,
                "sessionId": "s",
                "deviceId": "d",
                "payload": entries("totalacceleration", stamps[part], values[part, :3])
                + entries("gyroscope", stamps[part], values[part, 3:]),
            },
        )
        for number, part in enumerate(parts_of(t, NS_PER_S))
    ]
    return received(delayed(made, rng))


def phyphox_json(signal, rng):
    """100 Hz, seconds since the experiment began."""
    t, values = signal.at(100.0)
    made = []
    for part in parts_of(t, NS_PER_S // 2):
        seconds = ((t[part] - T0_NS) / NS_PER_S).round(6).tolist()
        body = {"acc_time": seconds, "gyr_time": seconds}
        for at, name in enumerate(("accX", "accY", "accZ", "gyrX", "gyrY", "gyrZ")):
            body[name] = values[part, at].tolist()
        made.append((int(t[part][-1]), body))
    return received(delayed(made, rng))


def sensor_spot(signal, rng):
    """50 Hz, one sample a message, time since boot."""
    t, values = signal.at(50.0, 7_000_000)
    made = []
    for at, row in zip(t.tolist(), values.tolist(), strict=True):
        for kind, xyz in (("accelerometer", row[:3]), ("gyroscope", row[3:])):
            body = {"type": f"android.sensor.{kind}", "timestamp": at - BOOT_NS, "values": xyz}
            made.append((at, body | {"accuracy": 3}))
    return received(delayed(made, rng, mean_ms=8.0))


def plain_json(signal, rng):
    """50 Hz, ms, g and degrees per second."""
    t, values = signal.at(50.0)
    made = []
    for part in parts_of(t, NS_PER_S // 4):
        rows = [
            {
                "t": int(at) // MS,
                "accel": (row[:3] / STANDARD_GRAVITY_M_S2).tolist(),
                "gyro": np.degrees(row[3:]).tolist(),
            }
            for at, row in zip(t[part], values[part], strict=True)
        ]
        made.append((int(t[part][-1]), {"stream": "phone", "samples": rows}))
    units = {"accel_unit": "g", "gyro_unit": "deg/s", "time_unit": "ms"}
    return received(delayed(made, rng), **units)


def from_a_port(framing, t, chunks, rng):
    """Yield what a serial device's bytes become that arrive in bursts of 16 ms."""
    device = Device(framing, framing.declared, "phone", lambda: T0_NS)
    pending = b""
    last = int(t[0]) // (16 * MS)
    for at, chunk in zip(t.tolist(), chunks, strict=True):
        if at // (16 * MS) != last:
            arrived = (last + 1) * 16 * MS - T0_NS + round(rng.exponential(0.3) * MS)
            yield device.feed(pending, arrived)
            pending, last = b"", at // (16 * MS)
        pending += chunk


def wt901(signal, rng):
    """100 Hz, 16-bit counts of 16 g and 2000 degrees per second, the host's clock."""
    t, values = signal.at(100.0)
    counts = np.hstack(
        [
            values[:, :3] / STANDARD_GRAVITY_M_S2 / 16,
            np.degrees(values[:, 3:]) / 2000,
        ]
    )
    counts = np.clip(np.rint(counts * 32768), -32768, 32767).astype("<i2")

    def frame(kind, triple):
        body = bytes([0x55, kind]) + triple.tobytes() + b"\0\0"
        return body + bytes([sum(body) & 0xFF])

    chunks = [frame(0x51, row[:3]) + frame(0x52, row[3:]) for row in counts]
    return from_a_port(Wt901(), t, chunks, rng)


def edge_impulse(signal, rng):
    """62.5 Hz, lines of text, no time."""
    t, values = signal.at(62.5)
    chunks = [(",".join(f"{x:.4f}" for x in row) + "\r\n").encode() for row in values]
    return from_a_port(Text(TextOptions()), t, chunks, rng)


CLIENTS = {
    client.__name__: client
    for client in (
        sensor_logger_ios,
        sensor_logger_android,
        phyphox_json,
        sensor_spot,
        plain_json,
        wt901,
        edge_impulse,
    )
}


def plain_csv(signal, folder):
    """The eighth, and the one the others are held against: a file at 50 Hz."""
    path = folder / "walk.csv"
    names = "t_ns,accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z"
    rows = (
        ",".join([str(int(t)), *map(repr, row)])
        for t, row in zip(signal.t, signal.columns.tolist(), strict=True)
    )
    path.write_text("\n".join([names, *rows]) + "\n")
    return open_recording(path).messages()


def predicted(messages, settings=None):
    """Return {end of window: most likely label} and what was counted."""
    classifier = TFLiteClassifier.load("pocket")
    seen, events = {}, []

    def watch(batch):
        winners = batch.probs.argmax(axis=1).tolist()
        seen.update(zip(batch.windows.t_end.tolist(), winners, strict=True))

    pipeline = Pipeline(lambda _: (classifier, settings or DecisionSettings()), watch=watch)
    for message in messages:
        events += pipeline.feed([part for part in message if isinstance(part, SampleBatch)])
    events += pipeline.finish("end_of_data")
    return seen, events, pipeline.counts


@pytest.fixture(scope="module", params=["simulated", "motionsense"])
def signal(request):
    """Return a wearer's walk, made up or real."""
    if request.param == "motionsense":
        return motionsense(request.getfixturevalue("recordings"))
    script = ["standing:15", "walking:40", "sitting:20", "running:20", "walking:15"]
    config = SimulatorConfig(script=script, seed=3, realtime=False)
    parts = {"accel": [], "gyro": []}

    def emit(message):
        for batch in message:
            if isinstance(batch, SampleBatch):
                parts[batch.sensor].append(batch.values)

    SimulatorSource("s", config).run(emit, threading.Event())
    return Signal(np.concatenate(parts["accel"]), np.concatenate(parts["gyro"]))


def motionsense(recordings):
    """Return half a minute each of five trials of a person that the model never saw, joined."""
    path = recordings / "motionsense.zip"
    rows = []
    with zipfile.ZipFile(path) as archive:
        for trial in ("std_6", "wlk_7", "sit_5", "jog_9", "ups_3"):
            name = f"A_DeviceMotion_data/{trial}/sub_9.csv"
            found = list(csv.DictReader(io.TextIOWrapper(archive.open(name), "utf-8")))
            rows += found[: 30 * 50]

    def triple(prefix):
        return np.array([[float(row[f"{prefix}.{axis}"]) for axis in "xyz"] for row in rows])

    total = -(triple("gravity") + triple("userAcceleration")) * STANDARD_GRAVITY_M_S2
    return Signal(total, triple("rotationRate"))


@pytest.fixture(scope="module")
def expected(signal, tmp_path_factory):
    return predicted(plain_csv(signal, tmp_path_factory.mktemp("plain")))[0]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_gives_the_same_timeline(client, signal, expected):
    got, _, counts = predicted(CLIENTS[client](signal, np.random.default_rng(1)))
    common = [end for end in expected if end in got]
    same = sum(expected[end] == got[end] for end in common)
    assert len(common) >= len(expected) - 6
    assert same >= 0.97 * len(common), Counter(
        (expected[end], got[end]) for end in common if expected[end] != got[end]
    )
    # A message that comes again is a duplicate, or late where its samples were final already.
    repeats = {"duplicate", "late"} if client == "sensor_logger_ios" else set()
    assert {reason for reason, n in counts.items() if n} <= repeats
