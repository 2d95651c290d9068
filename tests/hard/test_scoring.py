"""What a result is worth against labels: hand-made timelines, and what holds for any."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import Event
from hard.decision import UNKNOWN
from hard.scoring import Segment, Shown, Words, pooled, score, shown_in

S = 1_000_000_000
WORDS = Words(frozenset({"walking", "sitting", "standing"}), frozenset({"sitting", "standing"}))
LABELS = ["walking", "sitting", "standing", "still", UNKNOWN]


def segments(*parts):
    """Return what (begin, end, label) in seconds says."""
    return [Segment(begin * S, end * S, label) for begin, end, label in parts]


def bouts(*parts, late_s=0):
    return [
        Shown(begin * S, end * S, activity, (begin + late_s) * S) for begin, end, activity in parts
    ]


def figures(truth, result, **options):
    return score(segments(*truth), bouts(*result), WORDS, **options).figures()


def only(kinds):
    """Return the categories that occurred."""
    return {kind: n for kind, n in kinds.items() if n}


def test_what_is_shown_as_labelled_is_all_right():
    line = [(0, 60, "walking"), (60, 90, "sitting"), (90, 200, "walking")]
    found = figures(line, line)
    assert (found["right"], found["found"], found["precision"], found["recall"]) == (1, 1, 1, 1)
    assert found["f1"] == {"0.1": 1, "0.25": 1, "0.5": 1}
    assert only(found["segments_by"]) == only(found["events_by"]) == {"correct": 3}
    assert found["false_events_per_hour"] == 0
    assert found["onset_delay_s"] == {"median": 0, "p90": 0}


def test_an_activity_that_did_not_happen_is_inserted_and_false():
    found = figures(
        [(0, 3600, "sitting")], [(0, 100, "sitting"), (100, 110, "walking"), (110, 3600, "sitting")]
    )
    assert only(found["events_by"]) == {"inserted": 1, "fragmenting": 2}
    assert only(found["segments_by"]) == {"fragmented": 1}
    assert found["false_events_per_hour"] == 1
    assert found["seconds"]["inserted"] == found["seconds"]["fragmented"] == 10
    assert found["right"] == pytest.approx(3590 / 3600, abs=1e-4)


def test_a_segment_that_is_never_shown_is_deleted():
    truth = [(0, 100, "walking"), (100, 130, "sitting"), (130, 200, "walking")]
    found = figures(truth, [(0, 200, "walking")])
    assert only(found["segments_by"]) == {"deleted": 1, "merged": 2}
    assert only(found["events_by"]) == {"merging": 1}
    assert found["seconds"]["deleted"] == found["seconds"]["merging"] == 30
    assert found["found"] == pytest.approx(2 / 3, abs=1e-4)


def test_a_bout_over_unlabelled_time_merges_nothing():
    truth = [(0, 100, "walking"), (130, 200, "walking")]
    found = figures(truth, [(0, 200, "walking")])
    assert only(found["segments_by"]) == {"correct": 2}
    assert only(found["events_by"]) == {"correct": 1}
    assert found["right"] == 1
    assert found["unlabelled_h"] == pytest.approx(30 / 3600, abs=1e-4)


def test_both_a_piece_and_a_bridge_is_fragmented_and_merged():
    truth = [(0, 100, "walking"), (100, 130, "sitting"), (130, 200, "walking")]
    result = [(0, 40, "walking"), (40, 50, "sitting"), (50, 200, "walking")]
    found = figures(truth, result)
    assert only(found["segments_by"]) == {"deleted": 1, "fragmented_merged": 1, "merged": 1}
    kinds = {"fragmenting": 1, "inserted": 1, "fragmenting_merging": 1}
    assert only(found["events_by"]) == kinds


def test_late_begins_and_early_ends_are_underfilled_and_overfilled():
    found = figures([(0, 100, "walking"), (100, 200, "sitting")], [(5, 110, "walking")])
    assert found["seconds"]["underfilled"] == 5
    assert found["seconds"]["overfilled"] == 10
    assert found["seconds"]["deleted"] == 100
    assert found["nothing"] == pytest.approx(95 / 200)


def test_less_than_half_of_a_segment_is_not_found():
    assert figures([(0, 100, "walking")], [(0, 49, "walking")])["found"] == 0
    assert figures([(0, 100, "walking")], [(0, 50, "walking")])["found"] == 1


def test_unlabelled_time_and_two_seconds_beside_it_are_nobodys():
    truth = [(0, 100, "walking"), (130, 200, "walking")]
    result = [(0, 98, "walking"), (98, 132, "sitting"), (132, 200, "walking")]
    found = figures(truth, result)
    assert (found["false_events"], found["events_apart"]) == (0, 1)
    longer = [(0, 97, "walking"), (97, 132, "sitting"), (132, 200, "walking")]
    found = figures(truth, longer)
    assert (found["false_events"], found["events_apart"]) == (1, 0)


def test_a_label_that_the_model_does_not_have_is_unknown():
    truth = [(0, 100, "sitting"), (100, 103, "sit_to_stand"), (103, 200, "standing")]
    right = [(0, 100, "sitting"), (100, 103, UNKNOWN), (103, 200, "standing")]
    found = score(segments(*truth), bouts(*right), WORDS)
    assert found.figures()["right"] == 1
    assert found.figures()["segments"] == found.figures()["events"] == 2
    assert found.tallies[UNKNOWN].segments_by == {"correct": 1}
    named = figures(truth, [(0, 100, "sitting"), (100, 103, "walking"), (103, 200, "standing")])
    assert named["false_events"] == 1
    assert (named["right"], named["right_known"]) == (pytest.approx(197 / 200), 1)


def test_saying_unknown_is_wrong_but_no_false_event():
    found = figures([(0, 100, "walking")], [(0, 80, "walking"), (80, 100, UNKNOWN)])
    assert (found["right"], found["unknown"], found["false_events"]) == (0.8, 0.2, 0)


def test_still_is_right_for_every_posture_and_across_their_change():
    truth = [(0, 100, "sitting"), (100, 200, "standing")]
    found = figures(truth, [(0, 200, "still")])
    assert (found["right"], found["still"], found["found"], found["recall"]) == (1, 1, 1, 1)
    assert only(found["segments_by"]) == {"correct": 2}
    assert figures([(0, 100, "walking")], [(0, 100, "still")])["false_events"] == 1


def test_a_posture_that_is_told_apart_later_is_one_piece():
    found = figures([(0, 100, "sitting")], [(0, 50, "still"), (50, 100, "sitting")])
    assert only(found["segments_by"]) == {"correct": 1}
    assert found["false_events"] == 0


def test_a_label_still_takes_any_posture():
    assert figures([(0, 100, "still")], [(0, 100, "sitting")])["right"] == 1


def test_what_lies_somewhere_may_be_called_still_at_first():
    truth = [(0, 1000, "off_body")]
    found = figures(truth, [(0, 600, "still"), (600, 1000, "off_body")])
    assert found["right"] == 1
    assert figures([(0, 100, "sitting")], [(0, 100, "off_body")])["right"] == 0


def test_the_delay_is_from_the_true_begin_to_the_first_right_decision():
    truth = segments((0, 100, "walking"), (100, 200, "sitting"), (200, 300, "walking"))
    result = [
        Shown(0, 104 * S, "walking", 2 * S),
        Shown(104 * S, 199 * S, "sitting", 110 * S),
        Shown(199 * S, 300 * S, "walking", 199 * S),
    ]
    delays = score(truth, result, WORDS).figures()["onset_delay_s"]
    assert delays == {"median": 2, "p90": pytest.approx(8.4)}


def test_onsets_match_within_the_tolerance_only():
    truth, result = [(0, 100, "walking")], [(3, 100, "walking")]
    assert figures(truth, result)["recall"] == figures(truth, result)["precision"] == 0
    wider = figures(truth, result, tolerance_s=3)
    assert wider["recall"] == wider["precision"] == 1


def test_nobody_knows_when_in_unlabelled_time_something_began():
    truth = [(0, 100, "walking"), (130, 200, "sitting")]
    result = [(0, 110, "walking"), (110, 200, "sitting")]
    found = figures(truth, result)
    assert found["precision"] == found["recall"] == 1
    astray = [(0, 110, "walking"), (110, 120, "standing"), (120, 200, "sitting")]
    assert figures(truth, astray)["precision"] == 1


def test_a_segment_matches_one_bout_only():
    found = figures(
        [(0, 100, "walking")], [(0, 5, "walking"), (5, 6, "sitting"), (6, 100, "walking")]
    )
    assert (found["recall"], found["precision"]) == (1, pytest.approx(1 / 3, abs=1e-4))


def test_segment_f1_asks_for_overlap():
    found = figures([(0, 100, "walking")], [(70, 100, "walking")])
    assert found["f1"] == {"0.1": 1, "0.25": 1, "0.5": 0}


def test_touching_segments_of_one_label_are_one():
    truth = [(0, 50, "walking"), (50, 100, "walking")]
    assert figures(truth, [(0, 100, "walking")])["segments"] == 1


def test_streams_are_pooled_by_adding_counts_and_times():
    right = score(segments((0, 100, "walking")), bouts((0, 100, "walking")), WORDS)
    wrong = score(segments((0, 300, "sitting")), bouts((0, 300, "walking")), WORDS)
    both = pooled([right, wrong])
    assert both.labelled_ns == 400 * S
    assert both.figures()["right"] == 0.25
    assert both.figures()["false_events_per_hour"] == 9
    assert both.to_json()["labels"]["sitting"]["found"] == 0
    assert both.to_json()["shown_s"] == {"sitting": {"walking": 300}, "walking": {"walking": 100}}


def test_without_labels_there_are_no_shares():
    found = score([], bouts((0, 100, "walking")), WORDS).figures()
    assert (found["right"], found["false_events_per_hour"], found["found"]) == (None, None, None)
    assert found["events_apart"] == 1


def test_bouts_are_taken_from_their_events():
    def event(kind, **more):
        return Event(kind, "a", 20 * S, 10 * S, "m@1", 0, activity="walking", **more)

    events = [event("enter"), event("exit", t_end=30 * S), Event("status", "a", 0, 0, "m@1", 0)]
    assert shown_in(events) == {"a": [Shown(10 * S, 30 * S, "walking", 20 * S)]}


def timelines(kind):
    """Return timelines of any labels, lengths and pauses, in whole seconds."""
    part = st.tuples(st.integers(0, 20), st.integers(1, 60), st.sampled_from(LABELS))

    def placed(parts):
        ends = list(accumulate(pause + length for pause, length, _ in parts))
        return [
            kind((end - length) * S, end * S, label)
            for end, (_, length, label) in zip(ends, parts, strict=True)
        ]

    return st.lists(part, max_size=20).map(placed)


def as_shown(t_start, t_end, label):
    return Shown(t_start, t_end, label, t_start)


@settings(deadline=None)
@given(timelines(Segment))
def test_a_perfect_result_is_all_right(truth):
    found = score(truth, [as_shown(*s) for s in truth], WORDS)
    figures = found.figures()
    assert figures["right"] in {1, None}
    assert figures["found"] in {1, None}
    assert set(found.time_ns) <= {(label, label) for label in LABELS}
    assert figures["false_events"] == figures["events_apart"] == 0


@settings(deadline=None)
@given(timelines(Segment), timelines(as_shown))
def test_times_add_up_to_the_labelled_time(truth, result):
    found = score(truth, result, WORDS)
    labelled_ns = sum(s.t_end - s.t_start for s in truth)
    assert found.labelled_ns == labelled_ns
    assert sum(tally.labelled_ns for tally in found.tallies.values()) == labelled_ns
    shown_ns = sum(b.t_end - b.t_start for b in result)
    kinds = ("right", "inserted", "merging", "overfilled")
    judged_ns = sum(t.time_ns[kind] for t in found.tallies.values() for kind in kinds)
    assert judged_ns + found.unlabelled_ns == shown_ns


@settings(deadline=None)
@given(timelines(Segment), timelines(as_shown))
def test_every_segment_and_every_bout_is_of_one_category(truth, result):
    found = score(truth, result, WORDS)
    for tally in found.tallies.values():
        assert tally.segments == sum(tally.segments_by.values())
        assert tally.events == sum(tally.events_by.values())
        assert max(tally.found, tally.begun) <= tally.segments
        assert tally.begins_right <= tally.begins <= tally.events
        assert len(tally.delays_s) == tally.segments - tally.segments_by["deleted"]
        shares = [tally.right_at[overlap] for overlap in (0.1, 0.25, 0.5)]
        assert sorted(shares, reverse=True) == shares
        assert shares[0] <= min(tally.segments, tally.events)
    assert sum(t.events + t.events_apart for t in found.tallies.values()) == len(result)


@settings(deadline=None)
@given(timelines(Segment), timelines(as_shown), st.randoms())
def test_the_order_that_they_are_given_in_does_not_matter(truth, result, random):
    shuffled, mixed = truth[:], result[:]
    random.shuffle(shuffled)
    random.shuffle(mixed)
    assert score(shuffled, mixed, WORDS) == score(truth, result, WORDS)


@settings(deadline=None)
@given(timelines(Segment), timelines(as_shown), st.integers(-(10**6), 10**6))
def test_only_differences_of_times_matter(truth, result, shift_s):
    later = [
        s._replace(t_start=s.t_start + shift_s * S, t_end=s.t_end + shift_s * S) for s in truth
    ]
    moved = [
        Shown(b.t_start + shift_s * S, b.t_end + shift_s * S, b.activity, b.t_decided + shift_s * S)
        for b in result
    ]
    assert score(later, moved, WORDS) == score(truth, result, WORDS)
