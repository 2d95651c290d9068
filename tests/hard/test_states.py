"""What readers see of the streams' states."""

from hard.api import StreamState
from hard.states import StateBoard


def state(stream, n, activity="walking"):
    return StreamState(stream, "ok", activity, 0, n, 0.9, {}, "bout", "m", None)


def test_readers_see_changes_since_they_last_looked_and_newcomers_everything():
    board = StateBoard()
    board.show("a", state("a", 1))
    board.show("b", state("b", 1))
    version, seen = board.since(0)
    assert [each.stream for each in seen] == ["a", "b"]
    board.show("b", state("b", 2))
    assert board.since(version) == (version, [])
    board.show("a", state("a", 3, "sitting"))
    assert board.since(version)[1] == [state("a", 3, "sitting")]
    assert board.since(0)[1] == [state("b", 2), state("a", 3, "sitting")]
    version, _ = board.since(0)
    board.show("b", None)
    assert board.streams() == ["a"]
    assert board.gone_since(version) == ["b"]
    board.show("b", state("b", 4))
    assert board.gone_since(0) == []
    board.forget("a")
    assert board.streams() == ["b"]
    assert board.gone_since(0) == []
