"""What was learned of a stream survives a restart, and a damaged file does not prevent one."""

import sqlite3
import time
from contextlib import closing

import pytest

from hard.checkpoint import adopt_references, known_in, recall
from hard.eventlog import EventLog
from hard.pipeline import Pipeline

UPRIGHT = {
    "gravity": [0.1, 9.7, 1.0],
    "evidence": 12,
    "t_learned_ns": 17 * 10**17,
    "source": "gait",
}
KNOWN = {"phone-1": {"upright": UPRIGHT}}


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "events.db")
    yield log
    log.close()


def pipeline():
    return Pipeline(lambda _: None)


def test_what_was_known_is_known_again(log, tmp_path):
    log.append([], KNOWN)
    assert log.flush(5)
    again = pipeline()
    recall(log, again)
    assert again.memories() == KNOWN
    assert known_in(tmp_path / "events.db") == KNOWN


def test_a_pause_that_has_run_out_is_not_known_to_others(log, tmp_path):
    past, future = time.time_ns() - 1, time.time_ns() + 3600 * 10**9
    states = {"a": {"paused_until_ns": past}, "b": {"paused_until_ns": future}}
    log.append([], states | {"c": {"paused_until_ns": None}})
    assert log.flush(5)
    known = known_in(tmp_path / "events.db")
    assert known == {"a": {}, "b": {"paused_until_ns": future}, "c": {"paused_until_ns": None}}


def test_the_first_run_knows_nothing(log, tmp_path, caplog):
    recall(log, pipeline())
    assert known_in(tmp_path / "none.db") == {}
    assert not caplog.records


@pytest.mark.parametrize("state", [7, [], {"upright": 7}, {"upright": {"gravity": [0, 0]}}])
def test_a_state_that_can_not_be_used_costs_itself_only_and_is_told(log, caplog, state):
    log.append([], {"odd": state, **KNOWN})
    assert log.flush(5)
    again = pipeline()
    recall(log, again)
    assert again.memories() == KNOWN
    assert log.counts == {"bad_states": 1}
    assert "'odd'" in caplog.text


def test_a_log_that_is_another_programs_costs_the_knowledge(tmp_path):
    with closing(sqlite3.connect(tmp_path / "events.db")) as db:
        db.execute("PRAGMA user_version = 77")
    assert known_in(tmp_path / "events.db") == {}


def test_the_file_of_an_earlier_version_moves_into_the_log(log, tmp_path):
    path = tmp_path / "upright.json"
    path.write_text(f'{{"phone-1": {UPRIGHT}}}'.replace("'", '"'))
    for _ in range(2):
        adopt_references(path, log)
        assert not path.exists()
        assert log.states() == KNOWN


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000, "\0"])
def test_a_damaged_file_of_an_earlier_version_is_told_and_removed(log, tmp_path, caplog, text):
    path = tmp_path / "upright.json"
    path.write_text(text)
    adopt_references(path, log)
    assert log.states() == {}
    assert str(path) in caplog.text
    assert not path.exists()
