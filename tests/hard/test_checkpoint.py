"""Which way is up survives a restart, and a damaged file does not prevent one."""

import pytest

from hard.checkpoint import load_references, save_references
from hard.upright import Reference

KNOWN = {"phone-1": Reference((0.1, 9.7, 1.0), 12, 1_700_000_000_000_000_000, "gait")}


def test_what_is_saved_is_loaded(tmp_path):
    save_references(tmp_path / "upright.json", KNOWN)
    assert load_references(tmp_path / "upright.json") == KNOWN


def test_the_first_run_knows_nothing(tmp_path, caplog):
    assert load_references(tmp_path / "upright.json") == {}
    assert not caplog.records


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"a": 7}', '{"a": {"gravity": [0, 0]}}', "[" * 100_000, "\0"]
)
def test_a_damaged_file_costs_the_knowledge_and_is_told(tmp_path, caplog, text):
    path = tmp_path / "upright.json"
    path.write_text(text)
    assert load_references(path) == {}
    assert str(path) in caplog.text


def test_a_folder_that_can_not_be_written_is_told(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    save_references(tmp_path / "file" / "upright.json", KNOWN)
    assert "can't be written" in caplog.text


def test_a_folder_that_was_removed_is_made_again_and_told_once(tmp_path, caplog):
    path = tmp_path / "removed" / "upright.json"
    for _ in range(3):
        save_references(path, KNOWN)
    assert load_references(path) == KNOWN
    assert [record.levelname for record in caplog.records] == ["WARNING"]
