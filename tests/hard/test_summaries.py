"""The days of all streams, from the pipeline's thread to the sinks' threads."""

from datetime import UTC

from hard.api import NS_PER_S, Event, PluginConfig, Sink
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.eventlog import EventLog
from hard.pipeline import Pipeline
from hard.plugins import create
from hard.runtime import Runtime, RuntimeOptions
from hard.summaries import SummaryBoard

T0 = 1_704_067_200 * NS_PER_S
DAY = 86_400 * NS_PER_S
MINUTE = 60 * NS_PER_S


def bout(stream, begin, end):
    """Return the enter and the exit of a bout."""
    common = {"stream": stream, "t_start": begin, "model": "m@1", "segment": 0}
    return [
        Event("enter", t_decided=begin, activity="walking", **common),
        Event("exit", t_decided=end, activity="walking", t_end=end, **common),
    ]


def board(**options):
    return SummaryBoard(lambda _: UTC, **options)


def test_those_who_come_see_all_and_later_only_what_changed():
    shown = board()
    for stream in ("a", "b"):
        for event in bout(stream, T0, T0 + MINUTE):
            shown.take(event)
        shown.reach(stream, T0 + MINUTE)
    version, first = shown.since(0)
    assert [(day.stream, day.activity_s) for day in first] == [
        ("a", {"walking": 60}),
        ("b", {"walking": 60}),
    ]
    assert shown.since(version) == (version, [])
    for event in bout("a", T0 + 2 * MINUTE, T0 + 3 * MINUTE):
        shown.take(event)
    shown.reach("a", T0 + 3 * MINUTE)
    (changed,) = shown.since(version)[1]
    assert (changed.stream, changed.activity_s) == ("a", {"walking": 120})


def test_a_bout_that_goes_on_is_not_summed_up_with_every_window():
    shown = board()
    shown.take(bout("a", T0, 0)[0])
    shown.reach("a", T0 + MINUTE)
    version, _ = shown.since(0)
    shown.reach("a", T0 + 2 * MINUTE)
    assert shown.since(version)[1] == []


def test_yesterday_comes_before_today_and_the_day_before_is_gone():
    shown = board()
    for event in bout("a", T0 + DAY - MINUTE, T0 + DAY + MINUTE):
        shown.take(event)
    shown.reach("a", T0 + DAY + MINUTE)
    assert [day.date for day in shown.since(0)[1]] == ["2024-01-01", "2024-01-02"]
    for event in bout("a", T0 + 2 * DAY, T0 + 2 * DAY + MINUTE):
        shown.take(event)
    shown.reach("a", T0 + 2 * DAY + MINUTE)
    assert sorted(day.date for day in shown.since(0)[1]) == ["2024-01-02", "2024-01-03"]


def test_too_many_streams_forget_the_one_that_changed_longest_ago():
    shown = board(max_streams=2)
    for stream in ("a", "b", "c"):
        for event in bout(stream, T0, T0 + MINUTE):
            shown.take(event)
        shown.reach(stream, T0 + MINUTE)
    assert [day.stream for day in shown.since(0)[1]] == ["b", "c"]


def test_a_stream_that_is_not_known_has_no_day():
    shown = board()
    shown.reach("a", T0)
    assert shown.since(0) == (0, [])


class Seeing(Sink):
    """Keeps the days it is shown."""

    Config = PluginConfig

    def __init__(self):
        super().__init__("seeing", PluginConfig())
        self.days = []

    def open(self):
        pass

    def write(self, events, confirm):
        for event in events:
            confirm(event.seq)

    def summarise(self, summary):
        self.days.append(summary)

    def close(self):
        pass


def test_the_daemon_shows_its_sinks_the_days(tmp_path):
    classifier = TFLiteClassifier.load("pocket")
    table = {"plugin": "simulator", "realtime": False, "start": "2024-01-01T23:59:00Z"}
    source = create("sources", "s", table | {"script": ["standing:60", "walking:60"]}, "hard")
    sink = Seeing()
    runtime = Runtime(
        Pipeline(lambda _: (classifier, DecisionSettings())),
        {"s": source},
        {"seeing": sink},
        EventLog(tmp_path / "events.db"),
        RuntimeOptions(),
        summaries=board(),
    )
    assert runtime.run() == 0
    # Whether it opened before midnight is chance: one that opens late is shown the newest day only.
    assert sink.days[-1].date == "2024-01-02"
    assert sink.days[-1].activity_s["walking"] > 40
