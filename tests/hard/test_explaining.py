"""How windows are told: in a line, as JSON, from when to when."""

import numpy as np
import pytest

from hard.api import NS_PER_S, Declared, SampleBatch
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings, Explained
from hard.explaining import Stretch, explained_line, time_given
from hard.plugins import create
from hard.replay import replay

T0 = 1_704_067_200 * NS_PER_S


def window(t_start, **more):
    told = {
        "stream": "a",
        "t_start": t_start,
        "t_end": t_start + 2 * NS_PER_S,
        "probs": {"walking": 0.7, "sitting": 0.2, "standing": 0.1},
        "gate": "turned",
        "distance": 0.5,
        "turn": 1.25,
        "posterior": {"walking": 0.1, "unknown": 0.9},
        "chosen": "unknown",
        "bout": None,
    }
    return Explained(**(told | more))


def test_a_line_says_model_gate_filter_and_decision():
    words = explained_line(window(5 * NS_PER_S), relative=True).split()
    line = " ".join(words)
    assert line == (
        "0:00:05.0 0:00:07.0 a model walking 70%, sitting 20% gate turned distance 0.50 turn 1.25 "
        "filter unknown 90%, walking 10% chosen unknown bout -"
    )


def test_json_has_all_of_it_and_no_infinity():
    body = window(0, distance=float("inf")).payload()
    assert body["posterior"] == {"walking": 0.1, "unknown": 0.9}
    assert (body["gate"], body["distance"], body["turn"]) == ("turned", None, 1.25)


@pytest.mark.parametrize(
    ("text", "ns", "elapsed"),
    [
        ("90", 90 * NS_PER_S, True),
        ("1:30.5", 90_500_000_000, True),
        ("2:00:00", 7200 * NS_PER_S, True),
        ("2024-01-01T00:00:00Z", T0, False),
        ("2024-01-01 01:00:00+01:00", T0, False),
        ("2024-01-01T00:00:00", T0, False),
    ],
)
def test_times_are_taken_as_people_write_them(text, ns, elapsed):
    assert time_given(text) == (ns, elapsed)


@pytest.mark.parametrize("text", ["", "noon", "1:2:3:4", "-5"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(ValueError, match="give RFC 3339"):
        time_given(text)


def test_elapsed_times_count_from_the_first_sample():
    stretch = Stretch((10 * NS_PER_S, True), (T0 + 20 * NS_PER_S, False))
    table = {"plugin": "simulator", "realtime": False, "start": "2024-01-01T00:00:00Z"}
    source = create("sources", "s", table | {"script": ["walking:30"]}, "hard")
    classifier = TFLiteClassifier.load("pocket")
    seen = []
    outcome = replay(
        [source],
        lambda _: (classifier, DecisionSettings()),
        hear=stretch.hear,
        explain=seen.append,
    )
    assert len(seen) == outcome.windows > 20
    held = [window for window in seen if stretch.holds(window)]
    assert held[0].t_start < T0 + 10 * NS_PER_S < held[0].t_end
    assert held[-1].t_start < T0 + 20 * NS_PER_S <= held[-1].t_end + 2 * NS_PER_S
    assert {type(window.bout) for window in held} == {str}


def test_without_bounds_every_window_is_held():
    stretch = Stretch(None, None)
    assert stretch.holds(window(0))
    assert not stretch.relative
    t, values = np.zeros(1, np.int64), np.zeros((1, 3), np.float32)
    stretch.hear([SampleBatch("a", "accel", t, values, Declared("m/s2", clock="relative"))])
    assert stretch.relative
