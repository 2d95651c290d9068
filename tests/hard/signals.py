"""Signals, cuts and a stand-in for the model, shared by the tests of the pure core."""

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from hard.api import NS_PER_S, Declared, SampleBatch
from hard.card import ModelCard, ModelInput

T0_NS = 1_700_000_000 * NS_PER_S
ACCEL = ("accel_x", "accel_y", "accel_z")
GYRO = ("gyro_x", "gyro_y", "gyro_z")
INPUT = ModelInput(
    channels=(*ACCEL, *GYRO), sampling_rate_hz=50, window_samples=128, stride_samples=64
)
ACCEL_ONLY = INPUT.model_copy(update={"channels": ACCEL})

seeds = st.integers(0, 2**32 - 1)


def cuts(n, most=30):
    """Return a strategy for where to cut n things into messages."""
    return st.lists(st.integers(0, n), max_size=most).map(lambda at: [0, *sorted(at), n])


def uniform(n, rate_hz=50.0, start_ns=T0_NS):
    """Return n stamps at an even rate."""
    return start_ns + np.rint(np.arange(n) * (NS_PER_S / rate_hz)).astype(np.int64)


def worn(n, seed=0):
    """Return float32[n, 6] that passes for a worn device at rest: z up, a little noise."""
    x = np.random.default_rng(seed).normal(scale=0.3, size=(n, 6)).astype(np.float32)
    x[:, 2] += 9.8
    return x


def batches(t, x, *, stream="s", max_delay_s=0.0, message_id=None):
    """Return a message of an accelerometer and, where x has six columns, a gyroscope."""
    parts = [("accel", "m/s2", x[:, :3]), ("gyro", "rad/s", x[:, 3:])]
    return [
        SampleBatch(stream, sensor, t, v, Declared(unit, 1, max_delay_s), message_id=message_id)
        for sensor, unit, v in parts
        if v.shape[1]
    ]


def messages(t, x, at, **options):
    """Return samples cut into messages at the given places."""
    return [batches(t[a:b], x[a:b], **options) for a, b in pairwise(at)]


def seconds(t, x, **options):
    """Return samples as messages of a second."""
    at = np.searchsorted(t, np.arange(t[0], t[-1] + NS_PER_S, NS_PER_S)).tolist()
    return messages(t, x, [*at, len(t)], **options)


def card_fields(name="fake", labels=("rest", "walk", "run"), wanted=INPUT, model=b"fake"):
    """Return the fields of a valid model card."""
    return {
        "name": name,
        "description": "made by a test",
        "placement": "pocket",
        "labels": list(labels),
        "input": wanted.model_dump(),
        "architecture": "none",
        "parameters": 1,
        "sha256": hashlib.sha256(model).hexdigest(),
        "golden": {
            "window": [[0.0] * len(wanted.channels)] * wanted.window_samples,
            "output": [1.0, *[0.0] * (len(labels) - 1)],
        },
        "provenance": {
            "data_sets": [],
            "licence": "none",
            "subjects": {},
            "split": "none",
            "metrics": {},
            "command": "none",
            "created": "2024-01-01",
            "versions": {},
        },
    }


class FakeClassifier:
    """Stands in for the model: the more a window's accelerometer moves, the wilder its label."""

    def __init__(self, **fields):
        self.card = ModelCard.model_validate(card_fields(**fields))

    def classify(self, windows):
        moving = windows[:, :, :3].std(axis=1).sum(axis=1).astype(np.float64)
        distance = np.abs(moving[:, None] - np.array([1.0, 6.0, 20.0]))
        scores = np.exp(-distance)
        return (scores / scores.sum(axis=1, keepdims=True)).round(4)


def check_events(events, labels):
    """Assert what every consumer of one stream's events, from its first to its last, relies on."""
    open_ = None
    left_ns = {}
    for event in events:
        if event.kind == "enter":
            assert open_ is None
            assert event.t_start >= left_ns.get(event.segment, 0)
            open_ = event
        elif event.kind == "exit":
            assert open_ is not None
            assert (event.bout, event.t_start) == (open_.bout, open_.t_start)
            assert (event.activity, event.segment) == (open_.activity, open_.segment)
            assert event.t_start <= event.t_end
            left_ns[event.segment] = event.t_end
            open_ = None
        if event.kind != "status":
            assert 0 <= event.confidence <= 1
            assert 0 <= event.coverage <= 1
            assert all(0 <= p <= 1 for p in event.probs.values())
            assert tuple(event.probs) == (*labels, "unknown")
    assert open_ is None
    assert max(Counter(e.id for e in events).values(), default=1) == 1
    for segment in {e.segment for e in events}:
        decided = [e.t_decided for e in events if e.segment == segment and e.kind != "exit"]
        assert decided == sorted(decided)
    previous = "checking"
    for event in events:
        if event.kind == "status":
            assert event.previous == previous
            previous = event.status
        elif event.kind == "enter":
            assert previous == "ok"
