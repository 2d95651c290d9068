"""`hard.debugging`: windows as they were judged, for whoever asks."""

from hard.debugging import KEPT_WINDOWS, WindowBoard
from hard.decision import Explained


def judged(t_start):
    return Explained("phone-1", t_start, t_start + 1, {}, None, 0.0, 0.0, {}, "walking", None)


def starts(windows):
    return [window.t_start for window in windows]


def test_nothing_is_kept_until_somebody_asked():
    board = WindowBoard()
    board.put(judged(0))
    assert board.since(0) == (0, [])
    board.put(judged(1))
    number, windows = board.since(0)
    assert (number, starts(windows)) == (1, [1])


def test_each_reader_gets_each_window_once_in_order():
    board = WindowBoard()
    first = second = board.since(0)[0]
    board.put(judged(0))
    first, windows = board.since(first)
    assert starts(windows) == [0]
    board.put(judged(1))
    assert starts(board.since(first)[1]) == [1]
    assert starts(board.since(second)[1]) == [0, 1]


def test_who_comes_too_late_has_missed_the_oldest():
    board = WindowBoard()
    number, _ = board.since(0)
    for t in range(KEPT_WINDOWS + 5):
        board.put(judged(t))
    number, windows = board.since(number)
    assert number == KEPT_WINDOWS + 5
    assert starts(windows) == list(range(5, KEPT_WINDOWS + 5))
