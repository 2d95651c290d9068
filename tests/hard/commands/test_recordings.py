"""`hard replay` and `hard inspect`: what they print where, what they refuse, their exit codes."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hard.card import ModelCard
from hard.commands.recordings import _stop
from tests.calling import Forked, all_shown, at_a_terminal, hard


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def rewritten(source, target, change):
    """Write a recording again after `change(index, row) -> row`."""
    lines = [",".join(row if i == 0 else change(i, row)) for i, row in enumerate(rows(source))]
    target.write_text("\n".join(lines) + "\n")
    return target


# -- replay: what comes out --------------------------------------------------------------------


def test_a_placement_that_the_model_was_not_trained_on_is_told(tmp_path, day):
    config = tmp_path / "hard.toml"
    config.write_text('[[streams]]\nmatch = "*"\nplacement = "wrist"\n')
    done = hard("replay", day, "-c", config)
    assert done.returncode == 0
    assert "is worn 'wrist', the model pocket was trained on 'pocket'" in done.stderr


def test_a_replay_tells_a_timeline_and_a_summary(day):
    done = hard("replay", day)
    assert done.returncode == 0
    timeline, summary = done.stdout.strip().split("\n\n")
    assert timeline.splitlines()[0].split() == ["from", "to", "duration", "activity", "confidence"]
    shown = [line.split()[-2] for line in timeline.splitlines()[1:]]
    named = [activity for activity in shown if activity not in {"unknown", "still"}]
    assert named == ["standing", "walking", "sitting", "running"]
    assert summary.splitlines()[0].split() == ["activity", "time", "share", "bouts"]


def test_json_prints_events_as_lines_and_nothing_else(day):
    done = hard("replay", "--json", day)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["schema"] for event in events} == {1}
    kinds = [event["event_type"] for event in events]
    assert kinds.count("enter") == kinds.count("exit") >= 4
    order = [(event["t_decided_ns"], event["stream"]) for event in events]
    assert order == sorted(order)


def test_explained_there_is_a_line_a_window_of_the_stretch(day):
    done = hard("replay", day, "--explain", "--from", "0:30", "--to", "0:40")
    assert done.returncode == 0
    told, timeline, _ = done.stdout.split("\n\n")
    assert 8 <= len(told.splitlines()) <= 11
    assert all(" model " in line and " filter " in line for line in told.splitlines())
    assert timeline == hard("replay", day).stdout.split("\n\n")[0]


def test_explained_json_comes_before_the_events(day):
    lines = [json.loads(x) for x in hard("replay", "--json", "--explain", day).stdout.splitlines()]
    windows = [line["explained"] for line in lines if "explained" in line]
    assert len(windows) == (110 * 50 - 128) // 64 + 1
    assert [line for line in lines if "explained" not in line] == [
        json.loads(x) for x in hard("replay", "--json", day).stdout.splitlines()
    ]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--from", "0:30"], "give --explain too"),
        (["--explain", "--to", "noon"], "--to 'noon': give RFC 3339"),
    ],
)
def test_a_stretch_that_can_not_be_meant_is_told(day, options, why):
    done = hard("replay", day, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


def test_a_recording_over_midnight_has_its_days(tmp_path):
    night, config = tmp_path / "night.csv", tmp_path / "hard.toml"
    script = ["--script", "sitting:60", "--script", "walking:60"]
    assert hard("simulate", night, *script, "--start", "2024-01-01T22:59:00Z").returncode == 0
    config.write_text('[[streams]]\nmatch = "*"\ntimezone = "Europe/Berlin"\n')
    _, _, days = hard("replay", night, "-c", config).stdout.split("\n\n")
    assert [line.split()[:2] for line in days.splitlines()[1:]] == [
        ["night", "2024-01-01"],
        ["night", "2024-01-02"],
    ]
    lines = hard("replay", "--json", night, "-c", config).stdout.splitlines()
    summaries = [line["summary"] for line in map(json.loads, lines) if "summary" in line]
    assert [day["date"] for day in summaries] == ["2024-01-01", "2024-01-02"]
    assert {day["timezone"] for day in summaries} == {"Europe/Berlin"}


def test_two_replays_are_the_same_byte_for_byte(day):
    assert hard("replay", "--json", day).stdout == hard("replay", "--json", day).stdout


def test_predictions_are_one_row_a_window(day, tmp_path):
    out = tmp_path / "windows.csv"
    assert hard("replay", day, "--predictions", out).returncode == 0
    head, *body = rows(out)
    states = ModelCard.load("pocket")[0].states
    assert head == ["t_start_ns", "t_end_ns", "activity", "confidence"] + [
        f"p_{state}" for state in states
    ]
    assert len(body) == (110 * 50 - 128) // 64 + 1
    for row in body:
        probs = [float(p) for p in row[4:]]
        assert abs(sum(probs) - 1) < 0.001
        assert float(row[3]) == max(probs)
        assert states[int(np.argmax(probs))] == row[2]
    assert all(int(row[1]) - int(row[0]) == 128 * 20_000_000 for row in body)


def test_a_plot_is_drawn(day, tmp_path):
    out = tmp_path / "day.png"
    assert hard("replay", day, "--plot", out).returncode == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_several_files_are_streams_of_their_own(day, tmp_path):
    other = tmp_path / "other" / "day.csv"
    other.parent.mkdir()
    shutil.copy(day, other)
    events = [json.loads(x) for x in hard("replay", "--json", day, other).stdout.splitlines()]
    assert {event["stream"] for event in events} == {"day", "day-2"}
    order = [(event["t_decided_ns"], event["stream"]) for event in events]
    assert order == sorted(order)


def test_joined_files_are_one_stream_and_no_window_straddles_them(day, tmp_path):
    out = tmp_path / "windows.csv"
    done = hard("replay", "--json", "--join", 0, day, day, "--predictions", out)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["stream"] for event in events} == {"day"}
    seam = int(rows(day)[-1][0]) + 20_000_000
    windows = [(int(row[0]), int(row[1])) for row in rows(out)[1:]]
    assert not any(start < seam < end for start, end in windows)
    assert windows[-1][1] <= seam + 110 * 10**9
    bouts = [e for e in events if e["event_type"] == "exit"]
    assert all(a["t_end_ns"] <= b["t_start_ns"] for a, b in pairwise(bouts))


def test_speed_paces_the_replay_and_gives_the_same_events(day):
    fast = hard("replay", "--json", day)
    paced = hard("replay", "--json", "--speed", 100, day)
    assert paced.stdout == fast.stdout


def test_events_can_be_published_to_a_configured_sink(day, tmp_path):
    config = tmp_path / "hard.toml"
    config.write_text('[sinks.log]\nplugin = "jsonl"\npath = "events.jsonl"\n')
    done = hard("replay", day, "--publish", "log", "-c", config, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    published = [json.loads(x) for x in (tmp_path / "events.jsonl").read_text().splitlines()]
    replayed = [json.loads(x) for x in hard("replay", "--json", day).stdout.splitlines()]
    assert [e["id"] for e in published] == [e["id"] for e in replayed]


def test_publishing_to_a_sink_that_is_not_there_is_bad_usage(day):
    done = hard("replay", day, "--publish", "log")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no sink 'log' is configured" in done.stderr


# -- replay: bad input -------------------------------------------------------------------------


def g_as_m_s2(_, row):
    return [row[0], *(f"{float(v) / 9.80665:.5f}" for v in row[1:4]), *row[4:]]


def at_10_hz(i, row):
    return [str(i * 100_000_000), *row[1:]]


REFUSED = {
    "missing": (lambda day, out: None, "no such file"),
    "empty": (lambda day, out: out.write_text(""), "empty"),
    "no_accelerometer": (lambda day, out: out.write_text("t_ns,x,y\n1,2,3\n"), "accel_x"),
    "g_for_m_s2": (lambda day, out: rewritten(day, out, g_as_m_s2), "likely in g"),
    "too_slow": (lambda day, out: rewritten(day, out, at_10_hz), "10.0 Hz"),
    "not_one_good_row": (
        lambda day, out: out.write_text(",".join(rows(day)[0]) + "\n" + "x,y,z\n" * 50),
        "row",
    ),
    "binary": (lambda day, out: out.write_bytes(os.urandom(100_000) + b"\0"), "text"),
    "one_huge_line": (lambda day, out: out.write_text("1," * 20_000_000), "line"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused_before_any_output(case, day, tmp_path):
    make, expected = REFUSED[case]
    path, out = tmp_path / "walk.csv", tmp_path / "windows.csv"
    make(day, path)
    done = hard("replay", "--json", path, "--predictions", out)
    assert (done.returncode, done.stdout) == (1, "")
    assert expected in done.stderr.lower() or expected in done.stderr
    assert "walk.csv" in done.stderr
    assert not list(tmp_path.glob("*windows*"))


def test_without_a_gyroscope_a_model_of_the_placement_that_needs_none_decides(day, tmp_path):
    path, out = tmp_path / "walk.csv", tmp_path / "windows.csv"
    path.write_text("\n".join(",".join(row[:4]) for row in rows(day)) + "\n")
    done = hard("replay", "--json", path, "--predictions", out)
    meant = hard("replay", "--json", path, "--model", "pocket-accel")
    assert (done.returncode, done.stdout) == (0, meant.stdout)
    assert len(done.stdout.splitlines()) > 4
    told = "stream walk has no gyroscope: pocket-accel takes the place of pocket"
    assert done.stderr.count(told) == 1
    assert len(rows(out)) > 40
    asked = hard("replay", "--json", path, "--model", "pocket")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "no gyroscope: this model needs one" in asked.stderr


def test_bad_rows_are_skipped_counted_and_fail_only_when_strict(day, tmp_path):
    def spoil(i, row):
        spoiled = {500: [*row[:2], "oops", *row[3:]], 700: [*row[:1], "nan", *row[2:]]}
        spoiled |= {900: [*row[:3], "inf", *row[4:]], 1100: row[:3]}
        return spoiled.get(i, [str(int(row[0]) - 5 * 10**9), *row[1:]] if i == 1300 else row)

    path = rewritten(day, tmp_path / "day.csv", spoil)
    done = hard("replay", "--json", path)
    assert done.returncode == 0
    told = done.stderr.splitlines()[-1]
    for count in ("2 late", "1 not_a_number", "2 not_finite", "1 wrong_columns"):
        assert count in told
    kinds = [json.loads(line)["event_type"] for line in done.stdout.splitlines()]
    assert kinds.count("exit") >= 4
    strict = hard("replay", "--json", "--strict", path)
    assert (strict.returncode, strict.stdout) == (1, done.stdout)


def walked(folder):
    """Return a simulated walk of 130 s without a model's label."""
    path = folder / "walk.csv"
    assert hard("simulate", path, "--script", "walking:130", "--seed", 3).returncode == 0
    return path


def test_a_rejection_that_lasts_to_the_end_is_told_with_its_reason(tmp_path):
    walk, path = walked(tmp_path), tmp_path / "norate.csv"
    path.write_text("\n".join(",".join(row[1:7]) for row in rows(walk)) + "\n")
    done = hard("replay", path, "--rate", 25)
    assert done.returncode == 0
    timeline, summary = done.stdout.split("\n\n")
    assert timeline.splitlines()[0].endswith("why")
    last = timeline.splitlines()[-1].split()
    assert (last[1], last[3]) == ("0:04:20.0", "rejected")
    assert "wrong rate: at the stated 25 Hz" in timeline.splitlines()[-1]
    assert "rejected" in summary
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["norate", f" rejected from {last[0].partition(':')[0]}"]
    ]
    assert hard("replay", path, "--rate", 25, "--strict").returncode == 1


def test_no_bout_overlaps_the_rejection_between(tmp_path):
    def in_g_for_a_while(i, row):
        return g_as_m_s2(i, row) if 2000 < i <= 3500 else row

    path = rewritten(walked(tmp_path), tmp_path / "mid.csv", in_g_for_a_while)
    timeline, _ = hard("replay", path).stdout.split("\n\n")
    cells = [line.split() for line in timeline.splitlines()[1:]]
    assert "rejected" in [row[5] for row in cells]
    assert all(before[3] <= after[1] for before, after in pairwise(cells))


def test_told_to_stop_twice_a_replay_ends_at_once():
    stop = threading.Event()
    _stop(stop)
    assert stop.is_set()
    with pytest.raises(SystemExit, match="130"):
        _stop(stop)


def test_a_recording_shorter_than_a_window_is_told(day, tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("\n".join(day.read_text().splitlines()[:60]) + "\n")
    done = hard("replay", path)
    assert done.returncode == 1
    assert "1.16 s of data" in done.stderr


@pytest.fixture
def broken_model(tmp_path):
    """Return a copy of a bundled model, to be broken."""
    _, tflite = ModelCard.load("pocket")
    for source in (tflite, tflite.with_suffix(".json")):
        shutil.copy(source, tmp_path / source.name)
    return tmp_path / tflite.name


def test_a_model_whose_hash_is_off_is_refused(day, broken_model):
    broken_model.write_bytes(broken_model.read_bytes() + b"x")
    done = hard("replay", day, "--model", broken_model)
    assert (done.returncode, done.stdout) == (1, "")
    assert "sha256" in done.stderr


def test_a_model_that_is_garbage_is_refused(day, broken_model):
    garbage = b"\1\2\3" * 1000
    broken_model.write_bytes(garbage)
    card = broken_model.with_suffix(".json")
    body = json.loads(card.read_text()) | {"sha256": hashlib.sha256(garbage).hexdigest()}
    card.write_text(json.dumps(body))
    done = hard("replay", day, "--model", broken_model)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not a usable .tflite" in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--speed", "fast"], "give max"),
        (["--accel-unit", "feet"], "unknown accel-unit 'feet'; there are: m/s2, g\n"),
        (["--format", "foo"], "unknown format 'foo'; there are: auto, plain, motionsense,"),
        (["--rate", "-3"], "rate"),
        (["--rate", "abc"], "Invalid value for '--rate': 'abc' is no"),
        (["--start", "yesterday"], "RFC 3339"),
    ],
)
def test_a_bad_option_is_bad_usage(day, options, expected):
    done = hard("replay", day, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


@pytest.mark.parametrize("command", ["replay", "inspect"])
def test_an_option_that_a_recording_does_not_need_is_told_once_and_changes_nothing(day, command):
    given = (command, day, *([day] if command == "replay" else []))
    done = hard(*given, "--rate", "40", "--accel-unit", "m/s2")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "not used" in line] == [
        f"--rate is not used: {day}: the recording is plain, which has stamps or a rate of its own"
    ]
    assert done.stdout == hard(*given).stdout


def test_no_output_takes_the_place_of_something_else(day, tmp_path):
    own = tmp_path / "own.csv"
    shutil.copy(day, own)
    assert hard("replay", own, "--predictions", own).returncode == 2
    twice = hard("replay", own, "--predictions", tmp_path / "a", "--plot", tmp_path / "a")
    assert twice.returncode == 2
    assert hard("simulate", own, "--script", "walking:5").returncode == 1
    assert own.read_bytes() == day.read_bytes()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert hard("replay", own, "--predictions", fifo).returncode == 1
    assert fifo.is_fifo()


def test_an_interrupted_replay_leaves_nothing_half_written(day, tmp_path):
    out = tmp_path / "windows.csv"
    options = ["--speed", 1, "--predictions", out]
    with Forked("replay", day, *options, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # the first event: it is well under way
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not list(tmp_path.iterdir())


def test_files_named_like_options_of_paths_stay_where_they_are(day, tmp_path):
    out = tmp_path / "missing" / "windows.csv"
    done = hard("replay", day, "--predictions", out)
    assert done.returncode == 1
    assert "can't be written" in done.stderr
    assert not Path(out).exists()


def test_the_reader_may_leave_early(day):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Forked("replay", "--json", day, **pipes) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_a_pipe_gets_the_events_while_the_terminal_shows_the_progress(day):
    with at_a_terminal("replay", "--json", "--speed", 1000, day) as (process, terminal):
        shown = all_shown(terminal)
        events = [json.loads(line) for line in process.stdout]
        assert process.wait(20) == 0
    assert len(events) >= 8
    assert "min of data done" in shown
    assert "event_type" not in shown


# -- inspect -------------------------------------------------------------------------------------


@pytest.fixture
def walk(tmp_path):
    path = tmp_path / "walk.csv"
    rows = "".join(f"{t},{x:.4f},0,{1 + x:.4f}\n" for t, x in _swinging())
    path.write_text(f"t_ns,accel_x,accel_y,accel_z\n{rows}1,2\n")
    return path


def _swinging():
    for k in range(1000):
        yield k * 20_000_000, 0.01 * np.sin(k)


def test_inspect_tells_format_findings_and_what_to_try(walk):
    done = hard("inspect", walk)
    assert done.returncode == 0
    assert "  plain: the header names accel_x, accel_y, accel_z" in done.stdout
    assert "it is likely in g" in done.stdout
    assert "skipped   1 wrong_columns" in done.stdout
    assert done.stdout.strip().endswith(f"try: hard replay {walk} --accel-unit g")
    mended = hard("inspect", walk, "--accel-unit", "g", "--json")
    body = json.loads(mended.stdout)
    assert body["options"] == {}
    assert body["streams"][0]["gravity"] == "included"
    assert body["skipped"] == {"wrong_columns": 1}


def test_inspect_draws_a_plot(walk, tmp_path):
    plot = tmp_path / "walk.png"
    assert hard("inspect", walk, "--plot", plot).returncode == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert hard("inspect", walk, "--plot", walk).returncode == 2


def test_inspect_refuses_what_is_no_recording(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    done = hard("inspect", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{path}: an unknown format" in done.stderr
    assert hard("inspect", path, "--format", "nonsense").returncode == 2


@pytest.mark.parametrize("place", [".", "/", ""])
def test_a_place_without_a_name_is_refused_in_one_sentence(place, tmp_path):
    done = hard("replay", place, "--json", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"[./]: (holds more|an unknown format: it is empty).*\n", done.stderr)


# -- sessions of `hard record` -------------------------------------------------------------------


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Return a state directory in which two sessions were recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "hard.toml").write_text(
        '[hard]\nstate_dir = "state"\n[model]\nname = "waist"\n[decision]\nenter = 0.7\n'
        '[sources.sim]\nplugin = "simulator"\nstreams = 2\n'
        'script = ["walking:20"]\nrealtime = false\n'
    )
    for _ in range(2):
        assert hard("record", folder=folder).returncode == 0
    return folder / "state"


def test_inspect_tells_all_streams_of_a_session(sessions):
    session = min((sessions / "recordings").iterdir())
    body = json.loads(hard("inspect", session, "--json").stdout)
    assert [stream["stream"] for stream in body["streams"]] == ["sim-1", "sim-2"]
    assert [line.partition(":")[0] for line in body["opened"]] == ["sim-1.json", "sim-2.json"]
    assert body["file"] == str(session)
    assert "stream sim-2" in hard("inspect", session).stdout


@pytest.mark.parametrize("command", ["inspect", "replay"])
@pytest.mark.parametrize("inside", [".", "recordings"])
def test_a_folder_of_sessions_names_them(sessions, command, inside):
    done = hard(command, sessions / inside)
    assert (done.returncode, done.stdout) == (1, "")
    found = sorted((sessions / "recordings").iterdir())
    assert f"a folder of them; name one: {found[0]}, {found[1]}" in done.stderr


def test_a_session_is_replayed_as_it_was_recorded(sessions):
    session = min((sessions / "recordings").iterdir())
    done = hard("replay", "--json", session)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == hard("replay", "--json", session, "-c", sessions / "../hard.toml").stdout
    models = {json.loads(line)["model"].partition("@")[0] for line in done.stdout.splitlines()}
    assert models == {"waist"}
    other = hard("replay", "--json", "--model", "pocket", session).stdout.splitlines()
    assert {json.loads(line)["model"].partition("@")[0] for line in other} == {"pocket"}


@pytest.fixture
def session(sessions, tmp_path):
    """Return a session of its own, and what changes the metadata of a stream."""
    copy = tmp_path / "session"
    shutil.copytree(min((sessions / "recordings").iterdir()), copy)

    def change(stream, **fields):
        metadata = copy / f"{stream}.json"
        metadata.write_text(json.dumps(json.loads(metadata.read_text()) | fields))

    return copy, change


def test_a_session_of_a_model_that_is_not_here_says_so_once(session):
    folder, change = session
    for stream in ("sim-1", "sim-2"):
        change(stream, model="waist@00000000", decision={"enter": 7})
    done = hard("replay", folder)
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first.startswith("recorded with the model 'waist@00000000', which is not installed")
    assert "name its configuration with -c" in second


@pytest.mark.parametrize("command", [["inspect"], ["replay", "--strict"]])
def test_a_stream_with_labels_alone_is_left_out(session, command):
    folder, change = session
    change("sim-2", declared={})
    done = hard(*command, folder)
    assert done.returncode == 0
    told = f"left out: {folder / 'sim-2.json'}: it has labels or silences and no samples"
    assert done.stderr.splitlines() == [told]
    change("sim-1", declared={})
    assert hard(*command, folder).returncode == 1
