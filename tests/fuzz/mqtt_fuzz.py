"""Mutated messages of every format through `decode`: `python tests/fuzz/mqtt_fuzz.py --n 1000000`.

Each is decoded or refused, whatever it holds; anything else ends the run with the payload that did
it.  Prints the rate, what became of them, and how far the resident memory grew.  Not a test of the
suite: it takes minutes.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import Counter
from pathlib import Path

from hard.testing import check_message
from hard_formats.messages import Options, Refused, decode, decode_buffer
from hard_formats.phyphox import BufferJoiner

T0 = 1_700_000_000_123_456_789
WORDS = (b"null", b"NaN", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b"9" * 30, b"0.5", b"}")
VALUES = (
    *(None, True, -1, 0.5, 2**63, 10**400, 1e308, math.nan, math.inf, T0, "x", "", "\ud83d"),
    *([], {}, [1, 2], [[1]], {"x": 1}, {"now": 1, "events": [{}]}, "annotation", "gyroscope"),
)
TOPICS = ("lab/accX", "lab/accY", "lab/accZ", "lab/acc_time", "gyrX", "lab/pressure")


def valid_messages() -> list[bytes]:
    xyz = {"x": 0.5, "y": -1.5, "z": 9.5}
    names = ("totalacceleration", "accelerometer", "gravity", "gyroscope", "barometer")
    names += ("accelerometeruncalibrated",)
    entries = [
        {"name": name, "time": T0 + 10_000_000 * i, "values": xyz, "accuracy": 3}
        for i in range(5)
        for name in names
    ]
    entries.append({"name": "annotation", "time": T0, "values": {"text": "stairs"}})
    clock = {"event": "START", "experimentTime": 0.0, "systemTime": 1.7e9}
    bodies = [
        {"messageId": 7, "sessionId": "s", "deviceId": "phone", "payload": entries},
        {"messageId": 8, "deviceId": "phone", "payload": entries[1::6]},
        {"type": "android.sensor.gyroscope", "timestamp": 39 * 10**14, "values": [0.1, 0.2, 0.3]},
        {"accX": [1, 2], "accY": [3, 4], "accZ": [5, None], "acc_time": [0.5, 0.51]},
        {"linX": 1, "linY": 2, "linZ": 3, "t": 0.5, "time": {"now": 1.7e9, "events": [clock]}},
        {"stream": "w", "samples": [{"t": T0, "accel": [0, 0, 9.8], "gyro": [1, 2, 3]}] * 3},
        {"t": [T0, T0 + 1], "accel_x": [1, 2], "accel_y": [1, 2], "accel_z": [1, 2]},
    ]
    return [json.dumps(body).encode() for body in bodies] + [b"0.1,0.2,null", b"-1e-3"]


def mutated(message: bytes, rng: random.Random) -> bytes:
    """Return `message` with a few of its values replaced, or a few of its bytes, or both."""
    body = message
    for _ in range(rng.choice((0, 1, 1, 2, 4)) if body[:1] == b"{" else 0):
        body = restructured(body, rng)
    if body is message or rng.random() < 0.2:
        body = corrupted(body, rng)
    return body


def restructured(message: bytes, rng: random.Random) -> bytes:
    """Replace one value, however deep, or take it out: what is left is JSON still."""
    node = body = json.loads(message)
    while node:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        if not isinstance(node[key], dict | list) or rng.random() < 0.2:
            if rng.random() < 0.2:
                del node[key]
            else:
                node[key] = rng.choice(VALUES)
            break
        node = node[key]
    return json.dumps(body).encode()


def corrupted(message: bytes, rng: random.Random) -> bytes:
    """Flip, cut or double a few bytes, or put a telling word in their place."""
    body = bytearray(message)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(body) + 1)
        end = min(len(body), at + rng.choice((1, 1, 3, 8, 40)))
        kind = rng.randrange(4)
        if kind == 0 and at < len(body):
            body[at] = rng.randrange(256)
        elif kind == 1:
            del body[at:end]
        elif kind == 2:
            body[at:at] = body[at:end]
        else:
            body[at:end] = rng.choice(WORDS)
    return bytes(body)


def option_sets() -> list[Options]:
    forced = ("sensor_logger", "phyphox_json", "android", "plain", "phyphox_csv")
    formats = (*("auto",) * 15, *forced)
    platforms = (None, "ios", "android")
    return [Options(format=kind, platform=platform) for kind in formats for platform in platforms]


def outcome(payload: bytes, options: Options, joiner: BufferJoiner, rng: random.Random) -> str:
    """Decode one message; return in a word what became of it."""
    try:
        if payload[:1] != b"{" and options.format in {"auto", "phyphox_csv"}:
            result = decode_buffer(joiner, rng.choice(TOPICS), payload, options, t_received_ns=T0)
        else:
            result = decode(payload, options, named=rng.choice((None, "w")), t_received_ns=T0)
    except Refused as refused:
        return f"refused: {refused.reason}"
    if not result.message:
        return "decoded: nothing of ours"
    check_message(result.message)
    return f"decoded: {result.format}" + (", samples left out" if +result.skipped else "")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, joiner = random.Random(arguments.seed), BufferJoiner()
    messages, options = valid_messages(), option_sets()
    counts: Counter[str] = Counter()
    started_s, warm_bytes = time.monotonic(), 0
    for i in range(arguments.n):
        if i == arguments.n // 10:
            warm_bytes = resident_bytes()
        payload = mutated(rng.choice(messages), rng)
        try:
            counts[outcome(payload, rng.choice(options), joiner, rng)] += 1
        except Exception:
            print(f"message {i} of seed {arguments.seed}: {payload!r}")
            raise
    took_s = time.monotonic() - started_s
    for what, n in counts.most_common():
        print(f"{n:9d}  {what}")
    print(f"{arguments.n} messages in {took_s:.1f} s: {arguments.n / took_s:.0f} a second")
    grown_kb = (resident_bytes() - warm_bytes) / 1024
    print(f"resident memory grew by {grown_kb:.0f} kB after the first tenth")


if __name__ == "__main__":
    main()
