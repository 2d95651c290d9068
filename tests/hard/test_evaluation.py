"""Labels as they are heard or read, and deciding many times on the same predictions."""

import numpy as np
import pytest

from hard.api import Annotation, Declared, SampleBatch, UnusableInput
from hard.card import ModelCard
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.evaluation import (
    Hearing,
    Predictions,
    Trial,
    UnknownSetting,
    combinations,
    grid_table,
    judged,
    labels_in,
    on_front,
    report,
    truth_of,
    with_settings,
)
from hard.plugins import create
from hard.replay import replay
from hard.scoring import Segment, pooled, shown_in

S = 1_000_000_000
SCRIPT = ["standing:20", "walking:40", "sitting:30", "running:20", "standing:25"]


@pytest.fixture(scope="module")
def classifier():
    return TFLiteClassifier.load("pocket")


def wearer(script, seed=3):
    table = {"plugin": "simulator", "script": script, "seed": seed, "realtime": False}
    return create("sources", f"wearer-{seed}", table | {"start": "2024-01-01T00:00:00Z"}, "hard")


def samples(stream, begin_s, end_s):
    t = np.arange(begin_s * S, end_s * S, S // 10)
    return SampleBatch(stream, "accel", t, np.zeros((len(t), 3), np.float32), Declared("m/s2"))


# -- labels --------------------------------------------------------------------------------------


def test_a_label_holds_until_the_next_or_the_end_of_the_samples():
    hearing = Hearing()
    hearing.hear([samples("a", 0, 10), Annotation("a", 2 * S, "walking")])
    hearing.hear([samples("a", 10, 30), Annotation("a", 12 * S, "sitting")])
    hearing.hear([Annotation("a", 20 * S, ""), Annotation("a", 25 * S, "running")])
    assert hearing.segments() == {
        "a": [
            Segment(2 * S, 12 * S, "walking"),
            Segment(12 * S, 20 * S, "sitting"),
            Segment(25 * S, 30 * S - S // 10, "running"),
        ]
    }


def test_no_label_holds_where_nothing_came():
    hearing = Hearing()
    hearing.hear([samples("a", 0, 10), Annotation("a", 0, "walking")])
    hearing.hear([samples("a", 15, 20), samples("a", 100, 110)])
    ends = [(s.t_start / S, s.t_end / S) for s in hearing.segments()["a"]]
    assert ends == [(0, 19.9), (100, 109.9)]


def test_labels_may_come_in_any_order_and_without_samples_they_are_nothing():
    hearing = Hearing()
    hearing.hear([Annotation("a", 5 * S, "sitting"), Annotation("a", 0, "walking")])
    assert hearing.segments() == {}
    hearing.hear([samples("a", 0, 10)])
    assert [s.label for s in hearing.segments()["a"]] == ["walking", "sitting"]


def test_labels_are_read_from_a_file(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("t_start_ns,t_end_ns,label\n-5,10,walking\n10,20,Jogging\n")
    assert labels_in(path) == [Segment(-5, 10, "walking"), Segment(10, 20, "Jogging")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("t,label\n1,a\n", "a file of labels has the columns t_start_ns,t_end_ns,label"),
        ("t_start_ns,t_end_ns,label\n1.5,3,a\n", "line 2: '1.5' to '3' is no stretch of time"),
        ("t_start_ns,t_end_ns,label\n5,3,a\n", "line 2: '5' to '3' is no stretch of time"),
        ("", "a file of labels has the columns"),
    ],
)
def test_a_file_of_labels_that_says_nothing_is_refused(tmp_path, text, why):
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(UnusableInput, match=r"l\.csv") as refused:
        labels_in(path)
    assert why in str(refused.value)


def test_a_file_of_labels_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnusableInput, match="can't be read"):
        labels_in(tmp_path / "l.csv")


def test_words_of_data_sets_become_labels_of_the_model():
    card, _ = ModelCard.load("waist")
    words = [Segment(0, 1, "WALKING_UPSTAIRS"), Segment(1, 2, "null"), Segment(2, 3, "SIT_TO_LIE")]
    assert [s.label for s in truth_of(words, card)] == ["upstairs", "sit_to_lie"]


def test_joined_recordings_keep_their_labels_and_none_reaches_into_the_next(classifier):
    hearing = Hearing()
    sources = [wearer(["walking:20"]), wearer(["walking:20", "sitting:10"])]
    settings = DecisionSettings()
    replay(sources, lambda _: (classifier, settings), join_s=5, hear=hearing.hear)
    (segments,) = hearing.segments().values()
    base = segments[0].t_start
    spans = [((s.t_start - base) / S, (s.t_end - base) / S, s.label) for s in segments]
    assert [label for *_, label in spans] == ["walking", "walking", "sitting"]
    assert [round(t) for begin, end, _ in spans for t in (begin, end)] == [0, 20, 25, 45, 45, 55]


# -- deciding again ------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [None, 4, 60], ids=["the clock set back", "a gap", "silence"])
def test_decided_again_the_bouts_are_those_of_the_pipeline(classifier, pause_s):
    predictions = Predictions()
    sources = [wearer(SCRIPT), wearer(SCRIPT, seed=5)]
    settings = DecisionSettings(lag_s=1.28)  # the verdict of the first 3 s is known by then
    outcome = replay(
        sources, lambda _: (classifier, settings), join_s=pause_s, watch=predictions.see
    )
    shown = shown_in(outcome.events)
    assert sum(map(len, shown.values())) >= 8
    again = {
        stream: predictions.decided(stream, classifier.card, settings)
        for stream in predictions.streams()
    }
    assert again == shown


def test_settings_are_given_as_text():
    changed = with_settings(
        DecisionSettings(enter=0.4), {"min_dwell_s": "5", "enter_at.walking": "0.7"}
    )
    assert (changed.enter, changed.min_dwell_s) == (0.4, 5)
    assert changed.enter_at == {"walking": 0.7}
    assert changed.model_fields_set == {"enter", "min_dwell_s", "enter_at"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dwell": "5"}, "dwell: no such setting; there are smoothing,"),
        ({"enter": "high"}, "enter: Input should be a valid number"),
        ({"min_dwell_s": "-1"}, "min_dwell_s: Input should be greater than or equal to 0"),
    ],
)
def test_settings_that_can_not_be_are_told(changes, why):
    with pytest.raises(UnknownSetting, match=why):
        with_settings(DecisionSettings(), changes)


def test_a_grid_has_every_combination():
    assert combinations({"a": ["1", "2"], "b": ["3", "4"]}) == [
        {"a": "1", "b": "3"},
        {"a": "1", "b": "4"},
        {"a": "2", "b": "3"},
        {"a": "2", "b": "4"},
    ]


def test_a_trial_that_another_beats_is_not_on_the_front(classifier):
    predictions, hearing = Predictions(), Hearing()
    settings = DecisionSettings()
    replay(
        [wearer(SCRIPT)],
        lambda _: (classifier, settings),
        watch=predictions.see,
        hear=hearing.hear,
    )
    trials = []
    for changes in combinations({"min_dwell_s": ["0", "8"]}):
        tried = with_settings(settings, changes)
        (stream,) = predictions.streams()
        shown = {stream: predictions.decided(stream, classifier.card, tried)}
        scores = judged(hearing.segments(), shown, lambda _: classifier.card, 2.0)
        trials.append(Trial(changes, pooled(scores.values())))
    assert on_front(trials) == [True, False]
    first, second = grid_table(trials).splitlines()[1:]
    assert first.startswith("*")
    assert not second.startswith("*")
    assert trials[0].to_json()["settings"] == {"min_dwell_s": "0"}


def test_a_report_has_a_row_a_stream_one_for_all_and_one_a_label():
    card, _ = ModelCard.load("pocket")
    truth = {"a": [Segment(0, 60 * S, "walking")], "b": [Segment(0, 30 * S, "sitting")]}
    streams, labels = report(judged(truth, {}, lambda _: card, 2.0)).split("\n\n")
    assert [line.split()[0] for line in streams.splitlines()] == ["stream", "a", "b", "all"]
    assert [line.split()[0] for line in labels.splitlines()] == ["label", "walking", "sitting"]
