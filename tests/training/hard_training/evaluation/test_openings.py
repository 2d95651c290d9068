import json

from hard_training.evaluation.openings import FILE_NAME, log_opening, openings


def test_each_look_is_a_line_and_is_counted(tmp_path):
    folder = tmp_path / "run"
    assert log_opening(folder, "hard-train evaluate x", "x@1", "hapt", {"accuracy": 0.9}) == 1
    assert log_opening(folder, "hard-train evaluate y", "y@2", "hapt", {"accuracy": 0.8}) == 2
    first, second = (json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines())
    assert first["figures"] == {"accuracy": 0.9}
    assert second["command"] == "hard-train evaluate y"
    assert second["what"] == "y@2"


def test_looks_at_another_data_set_are_counted_apart(tmp_path):
    log_opening(tmp_path, "a", "x", "hapt", {})
    assert log_opening(tmp_path, "b", "x", "motionsense", {}) == 1
    assert len(openings(tmp_path)) == 2


def test_a_line_that_a_crash_cut_off_hides_no_other(tmp_path):
    log_opening(tmp_path, "a", "x", "hapt", {})
    with (tmp_path / FILE_NAME).open("a") as log:
        log.write('{"opened": "20\n')
    assert log_opening(tmp_path, "b", "x", "hapt", {}) == 2
