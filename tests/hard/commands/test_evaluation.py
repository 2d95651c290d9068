"""`hard evaluate`: tables, JSON, plots, grids, and what it refuses."""

import json

import pytest

from tests.calling import hard


def lines(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_labels(day, path):
    lines = day.read_text().splitlines()
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    return path


def test_a_table_by_stream_and_one_by_label(day):
    done = hard("evaluate", day)
    assert done.returncode == 0
    streams, labels = done.stdout.strip().split("\n\n")
    assert [line.split()[0] for line in streams.splitlines()] == ["stream", "day"]
    found = {line.split()[0] for line in labels.splitlines()[1:]}
    assert found >= {"walking", "standing", "sitting", "running"}


def test_json_has_a_line_a_stream_and_one_for_all(day, tmp_path):
    again = tmp_path / "again.csv"
    again.write_bytes(day.read_bytes())
    first, second, pooled = lines(hard("evaluate", "--json", day, again))
    assert (first["kind"], first["stream"], second["stream"]) == ("stream", "day", "again")
    assert pooled["kind"] == "pooled"
    assert pooled["labelled_h"] == pytest.approx(2 * first["labelled_h"], abs=2e-4)
    assert pooled["segments"] == 2 * first["segments"] == 8
    assert first["right"] > 0.8
    assert first["labels"]["walking"]["segments"] == 1


def test_labels_may_stand_beside_the_recording_or_be_named(day, tmp_path):
    bare = without_labels(day, tmp_path / "bare.csv")
    begin = int(bare.read_text().splitlines()[1].split(",")[0])
    rows = [("standing", 0, 20), ("walking", 20, 60), ("sitting", 60, 90), ("jogging", 90, 110)]
    text = "t_start_ns,t_end_ns,label\n" + "".join(
        f"{begin + a * 10**9},{begin + b * 10**9},{label}\n" for label, a, b in rows
    )
    (tmp_path / "mine.csv").write_text(text)
    (named,) = [
        x
        for x in lines(hard("evaluate", bare, "--labels", tmp_path / "mine.csv", "--json"))
        if x["kind"] == "stream"
    ]
    (tmp_path / "bare.labels.csv").write_text(text)
    (beside,) = [x for x in lines(hard("evaluate", bare, "--json")) if x["kind"] == "stream"]
    assert named == beside
    assert set(named["labels"]) >= {"standing", "walking", "sitting", "running"}


def test_a_recording_without_labels_is_refused_with_the_remedy(day, tmp_path):
    done = hard("evaluate", without_labels(day, tmp_path / "bare.csv"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no labels: a plain CSV takes a column `label`" in done.stderr


def test_labels_of_another_time_are_told(day, tmp_path):
    (tmp_path / "l.csv").write_text("t_start_ns,t_end_ns,label\n0,1,walking\n")
    done = hard("evaluate", day, "--labels", tmp_path / "l.csv")
    assert done.returncode == 1
    assert "no label within the recording's time" in done.stderr


def test_one_file_of_labels_is_of_one_stream(day, tmp_path):
    (tmp_path / "l.csv").write_text("t_start_ns,t_end_ns,label\n0,1,walking\n")
    again = tmp_path / "again.csv"
    again.write_bytes(day.read_bytes())
    done = hard("evaluate", day, again, "--labels", tmp_path / "l.csv")
    assert done.returncode == 2
    assert "--labels is of one stream" in done.stderr


def test_settings_can_be_tried_without_a_configuration(day):
    slow = lines(hard("evaluate", day, "--json", "--set", "min_dwell_s=8"))[-1]
    fast = lines(hard("evaluate", day, "--json"))[-1]
    assert slow["onset_delay_s"]["median"] > fast["onset_delay_s"]["median"]


def test_a_grid_is_sorted_and_agrees_with_single_settings(day):
    found = lines(hard("evaluate", day, "--json", "--grid", "min_dwell_s=8,0,3"))
    assert [row["kind"] for row in found] == ["grid"] * 3
    costs = [
        (r["false_events_per_hour"], 1 - r["found"], r["onset_delay_s"]["median"]) for r in found
    ]
    assert costs == sorted(costs)
    single = lines(hard("evaluate", day, "--json", "--set", "min_dwell_s=3"))[-1]
    (same,) = [row for row in found if row["settings"] == {"min_dwell_s": "3"}]
    assert {key: single[key] for key in same.keys() & single.keys() - {"kind"}} == {
        key: same[key] for key in same.keys() & single.keys() - {"kind"}
    }


def test_a_grid_says_what_its_mark_means(day):
    told = hard("evaluate", day, "--grid", "min_dwell_s=0,8").stdout.splitlines()
    assert told[-2].startswith("* nothing else tried is better")
    assert told[-1] == "  false/h, found, delay"


@pytest.mark.parametrize("options", [[], ["--grid", "min_dwell_s=0,5", "--grid", "enter=0.4,0.6"]])
def test_a_plot_is_drawn(day, tmp_path, options):
    out = tmp_path / "truth.png"
    assert hard("evaluate", day, "--plot", out, *options).returncode == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--set", "dwell=5"], "dwell: no such setting"),
        (["--set", "enter"], "give key=value"),
        (["--set", "enter=1", "--set", "enter=0"], "given twice"),
        (["--grid", "enter=0.5,high"], "enter: Input should be a valid number"),
        (["--grid", "enter=" + ",".join(map(str, range(3000)))], "combinations; 2000 at most"),
    ],
)
def test_bad_usage_is_told(day, options, why):
    done = hard("evaluate", day, *options)
    assert done.returncode == 2
    assert why in done.stderr


def test_a_plot_does_not_overwrite_the_labels(day, tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("t_start_ns,t_end_ns,label\n0,1,walking\n")
    done = hard("evaluate", day, "--labels", path, "--plot", path)
    assert done.returncode == 2
    assert path.read_text().startswith("t_start_ns")


def test_warm_knows_from_the_begin_which_way_is_up(day):
    of = ["evaluate", "--json", "--model", "pocket-upright", day]
    cold, warm = (lines(hard(*of, *more))[-1]["shown_s"]["standing"] for more in ([], ["--warm"]))
    assert cold.get("standing", 0) < warm["standing"]
