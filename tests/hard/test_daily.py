"""Days of a wearer: midnight in their zone, days of 23 and 25 hours, what is open, what rests."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.api import NS_PER_S, Event
from hard.daily import Days, day_of, midnight_ns

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600 * NS_PER_S


def at(text, zone=BERLIN):
    """Return ns of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * NS_PER_S


def enter(activity, t_start, stream="a"):
    return Event("enter", stream, t_start, t_start, "m@1", 0, activity=activity)


def leave(activity, t_start, t_end, stream="a"):
    return Event("exit", stream, t_end, t_start, "m@1", 0, activity=activity, t_end=t_end)


def status(now, t_start, stream="a"):
    return Event("status", stream, t_start, t_start, "m@1", 0, status=now)


def fed(*bouts, zone=BERLIN, keep=10):
    days = Days("a", zone, keep)
    for activity, begin, end in bouts:
        days.take(enter(activity, begin))
        days.take(leave(activity, begin, end))
    return days


def test_seconds_and_bouts_are_counted_by_activity():
    t = at("2026-05-01T09:00")
    days = fed(("walking", t, t + HOUR), ("sitting", t + HOUR, t + 3 * HOUR))
    days.take(enter("walking", t + 3 * HOUR))
    days.take(leave("walking", t + 3 * HOUR, t + 4 * HOUR))
    (day,) = days.summaries(t + 5 * HOUR)
    assert (day.stream, day.date, day.timezone) == ("a", "2026-05-01", "Europe/Berlin")
    assert day.activity_s == {"sitting": 7200, "walking": 7200}
    assert day.bouts == {"sitting": 1, "walking": 2}
    assert (day.first_seen, day.last_seen) == (t, t + 4 * HOUR)
    assert day.t == t + 5 * HOUR


def test_a_bout_over_midnight_is_split_at_the_wearers_midnight():
    days = fed(("laying", at("2026-05-01T23:00"), at("2026-05-02T07:30")))
    first, second = days.summaries(at("2026-05-02T08:00"))
    assert first.activity_s == {"laying": 3600}
    assert second.activity_s == {"laying": 7.5 * 3600}
    assert first.t == first.t_end == second.t_start == at("2026-05-02T00:00")
    in_tokyo = fed(
        ("laying", at("2026-05-01T23:00"), at("2026-05-02T07:30")), zone=ZoneInfo("Asia/Tokyo")
    )
    assert [day.date for day in in_tokyo.summaries(at("2026-05-02T08:00"))] == ["2026-05-02"]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_days_of_23_and_25_hours_are_as_long_as_they_are(day, hours):
    begin = at(f"{day}T00:00")
    days = fed(("laying", begin - HOUR, begin + 26 * HOUR))
    _, found, _ = days.summaries(begin + 27 * HOUR)
    assert found.date == day
    assert found.activity_s == {"laying": hours * 3600}
    assert found.t_end - found.t_start == hours * HOUR


def test_a_zone_whose_clocks_change_at_midnight_has_its_days():
    zone = ZoneInfo("America/Havana")  # 2026-03-08 begins at 01:00
    begin = midnight_ns(date(2026, 3, 8), zone)
    assert day_of(begin, zone) == date(2026, 3, 8)
    assert day_of(begin - 1, zone) == date(2026, 3, 7)
    assert midnight_ns(date(2026, 3, 9), zone) - begin == 23 * HOUR


def test_what_is_open_counts_until_now_and_only_then():
    t = at("2026-05-01T09:00")
    days = fed()
    days.take(enter("walking", t))
    assert days.summaries(t + HOUR)[0].activity_s == {"walking": 3600}
    assert days.summaries(t + 2 * HOUR)[0].activity_s == {"walking": 7200}
    days.take(leave("walking", t, t + 3 * HOUR))
    assert days.summaries(t + 9 * HOUR)[0].activity_s == {"walking": 10800}


def test_postures_that_follow_each_other_are_one_stretch_of_rest():
    t = at("2026-05-01T09:00")
    days = fed(
        ("sitting", t, t + HOUR),
        ("still", t + HOUR, t + 2 * HOUR),
        ("walking", t + 2 * HOUR, t + 3 * HOUR),
        ("laying", t + 3 * HOUR, t + 4 * HOUR),
        ("laying", t + 4 * HOUR + 1, t + 5 * HOUR),
    )
    assert days.summaries(t + 6 * HOUR)[0].longest_rest == (t, t + 2 * HOUR)
    days.take(enter("standing", t + 5 * HOUR))
    assert days.summaries(t + 7 * HOUR)[0].longest_rest == (t + 4 * HOUR + 1, t + 7 * HOUR)


def test_a_day_without_rest_has_no_longest():
    t = at("2026-05-01T09:00")
    assert fed(("walking", t, t + HOUR)).summaries(t + HOUR)[0].longest_rest is None


def test_silence_is_counted_apart_also_while_it_lasts():
    t = at("2026-05-01T09:00")
    days = fed(("walking", t, t + HOUR))
    days.take(status("no_data", t + HOUR))
    assert days.summaries(t + 2 * HOUR)[0].no_data_s == 3600
    days.take(status("ok", t + 3 * HOUR))
    day = days.summaries(t + 9 * HOUR)[0]
    assert day.no_data_s == 7200
    assert day.last_seen == t + HOUR


def test_only_the_newest_days_are_kept():
    t = at("2026-05-01T09:00")
    bouts = [("walking", t + n * 24 * HOUR, t + (n * 24 + 1) * HOUR) for n in range(5)]
    days = fed(*bouts, keep=2)
    assert [day.date for day in days.summaries(t + 200 * HOUR)] == ["2026-05-04", "2026-05-05"]


def test_nothing_known_is_no_day():
    assert fed().summaries(0) == []


ZONES = [UTC, BERLIN, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Havana")]


@settings(deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(0, 2_000_000_000),
    st.lists(
        st.tuples(st.sampled_from(["sitting", "walking"]), st.integers(1, 200_000)), max_size=12
    ),
)
def test_the_days_add_up_to_the_bouts(zone, begin_s, parts):
    bouts, t = [], begin_s * NS_PER_S
    for activity, length_s in parts:
        bouts.append((activity, t, t + length_s * NS_PER_S))
        t += length_s * NS_PER_S
    found = fed(*bouts, zone=zone, keep=1000).summaries(t)
    for activity in ("sitting", "walking"):
        whole = sum(length for name, length in parts if name == activity)
        assert sum(day.activity_s.get(activity, 0) for day in found) == pytest.approx(whole)
    assert all(22 * HOUR < day.t_end - day.t_start < 26 * HOUR for day in found)
    assert all(sum(d.activity_s.values()) * NS_PER_S <= d.t_end - d.t_start for d in found)
