"""`hard-train datasets` and `hard-train fetch`, as their user sees them."""

import io
import json
import tarfile

import pytest
from typer.testing import CliRunner

from hard_training.checking import check
from hard_training.cli import app
from hard_training.datasets import DATA_SETS, data_set_named


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_data_set_is_listed_with_what_must_be_known_of_it(motionsense):
    shown = run("datasets", "--data", motionsense, "--json")
    rows = {row["name"]: row for row in json.loads(shown.stdout)}
    assert set(rows) == set(DATA_SETS)
    for name, row in rows.items():
        for key in ("title", "placements", "labels", "rate_hz", "units", "licence", "cite"):
            assert row[key], (name, key)
    assert rows["motionsense"]["found"] == str(motionsense / "motionsense.zip")
    assert rows["hapt"]["found"] is None
    assert rows["hapt"]["official_split"]
    assert not rows["motionsense"]["official_split"]
    assert rows["realworld"]["placements"][:2] == ["waist", "thigh"]


def test_the_list_is_for_reading_too(motionsense):
    text = run("datasets", "--data", motionsense).stdout
    assert f"found: {motionsense}" in text
    assert "not there: https://archive.ics.uci.edu/dataset/231" in text
    assert "36 people, 20 Hz, m/s², no gyroscope" in text


def test_a_check_says_what_is_in_a_data_set(motionsense):
    found = check(data_set_named("motionsense"), motionsense)
    assert (found["recordings"], found["people"]) == (36, 6)
    assert found["minutes"]["walking"] == pytest.approx(1.2)
    assert found["usable_hours"] == pytest.approx(0.12)
    assert found["defects"] == found["dropped"] == {}


def test_a_check_shows_what_is_wrong_counted(tmp_path):
    lines = [f"33,Walking,{10**12 + k * 50_000_000},0.5,9.5,0.25;" for k in range(200)]
    lines += ["33,Walking,0,0,0,3.2;", "33,Walking,5,1,2;"]
    data = "\n".join(lines).encode()
    with tarfile.open(tmp_path / "WISDM_ar_latest.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("WISDM_ar_v1.1/WISDM_ar_v1.1_raw.txt")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    shown = run("datasets", "--data", tmp_path, "--check", "wisdm-v1.1")
    assert shown.exit_code == 0
    assert "defects: no_time 1, wrong_columns 1" in shown.stdout
    assert "minutes: walking 0.2" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("datasets", "--check", "hapt"), "no HAPT"),
        (("datasets", "--check", "happt"), "no data set 'happt'; there are hapt, hhar,"),
        (("datasets", "--check", "hapt:thigh"), "no placement 'thigh'; it has waist"),
        (("fetch", "own"), "nothing to download"),
        (("fetch", "happt"), "no data set 'happt'"),
    ],
)
def test_what_cant_be_done_is_one_line(tmp_path, arguments, why):
    shown = run(*arguments, "--data", tmp_path)
    assert shown.exit_code == 1
    assert why in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_fetching_what_is_there_says_so_and_repeats_the_licence(motionsense):
    shown = run("fetch", "motionsense", "--data", motionsense)
    assert shown.exit_code == 0
    assert "was there already" in shown.stdout
    assert "cite Malekzadeh" in shown.stderr


def test_each_command_shows_an_example():
    for command in ("datasets", "fetch"):
        assert f"hard-train {command}" in run(command, "--help").output


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("name", "recordings", "people", "hours"),
    [("motionsense", 300, 20, 6.49), ("hapt", 61, 30, 6.24), ("sp-sw-har:pocket", 223, 23, 0.7)],
)
def test_the_real_ones_hold_what_was_published(name, recordings, people, hours, real_data):
    data_set = data_set_named(name)
    found = check(data_set, real_data)
    assert (found["recordings"], found["people"]) == (recordings, people)
    assert set(found["minutes"]) == set(data_set.all_labels)
    assert found["usable_hours"] == pytest.approx(hours, abs=0.02)
    assert not found["defects"]
