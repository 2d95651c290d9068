from hypothesis import given
from hypothesis import strategies as st

from hard.metrics import LogAges, resident_bytes


def test_memory_is_that_of_this_process():
    before = resident_bytes()
    held = bytearray(b"x" * 50_000_000)
    assert resident_bytes() >= before + len(held) * 0.9


def test_the_age_is_that_of_the_first_event_not_had_yet():
    ages = LogAges()
    for newest, now_s in ((0, 100.0), (5, 110.0), (5, 111.0), (9, 120.0)):
        ages.note(newest, now_s)
    assert [ages.age_s(position, 130.0) for position in (9, 8, 5, 4, 0)] == [0, 10, 10, 20, 20]


def test_what_is_older_than_the_first_look_is_at_least_as_old_as_that():
    ages = LogAges()
    assert ages.age_s(0, 50.0) == 0.0
    ages.note(5_000, 100.0)
    assert ages.age_s(17, 130.0) == 30.0


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5_000), st.data())
def test_a_long_backlog_takes_no_more_memory_and_its_oldest_keeps_its_age(steps, data):
    ages, newest, noted = LogAges(), 0, {}
    for now_s, step in enumerate(steps):
        noted |= dict.fromkeys(range(newest + 1, newest + step + 1), now_s)
        newest += step
        ages.note(newest, float(now_s))
    assert len(ages._marks) <= 2_048
    assert ages.age_s(0, 10_000.0) == 10_000.0 - noted[1]
    seq = data.draw(st.integers(1, newest))
    told_s = ages.age_s(seq - 1, 10_000.0)
    assert 0 < told_s <= 10_000.0 - noted[seq]
    if len(steps) <= 2_048:
        assert told_s == 10_000.0 - noted[seq]
