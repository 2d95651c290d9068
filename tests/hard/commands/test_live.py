"""`hard run` and `hard record` at the prompt; as a service they are in test_daemon.py."""

import json
import os
import re
import signal
import subprocess

import pytest

from tests.calling import Forked, all_shown, at_a_terminal, hard


def test_run_ends_with_its_data_and_prints_events(day, tmp_path):
    config = tmp_path / "hard.toml"
    config.write_text(f'[sources.day]\nplugin = "file"\npath = "{day}"\n')
    done = hard("run", "-c", config, "--stdout")
    assert done.returncode == 0
    ran = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    replayed = [json.loads(x)["id"] for x in hard("replay", "--json", day).stdout.splitlines()]
    assert ran == replayed


def live(folder, state="state"):
    """Write a configuration whose files are named from where it is."""
    (folder / "conf").mkdir()
    config = folder / "conf/hard.toml"
    config.write_text(
        f'[hard]\nstate_dir = "{state}"\n[sources.sim]\nplugin = "simulator"\n'
        '[sinks.log]\nplugin = "jsonl"\npath = "events.jsonl"\n'
    )
    return config


def test_files_are_meant_from_where_the_configuration_is(tmp_path, day):
    config = live(tmp_path)
    (tmp_path / "conf/day.csv").write_bytes(day.read_bytes())
    text = config.read_text().replace('plugin = "simulator"', 'plugin = "file"\npath = "day.csv"')
    config.write_text(f'{text}[record]\nfolder = "walks"\n')
    (tmp_path / "elsewhere").mkdir()
    assert hard("run", "-c", "../conf/hard.toml", folder=tmp_path / "elsewhere").returncode == 0
    assert not list((tmp_path / "elsewhere").iterdir())
    made = {path.name for path in (tmp_path / "conf").iterdir()}
    assert made == {"day.csv", "events.jsonl", "hard.toml", "state", "walks"}
    assert (tmp_path / "conf/state/events.db").is_file()


@pytest.mark.parametrize("options", [["-v", "run"], ["run", "-v"], ["run", "--verbose"]])
def test_verbose_may_stand_before_and_behind_the_command(tmp_path, day, options):
    config = tmp_path / "hard.toml"
    config.write_text(f'[sources.day]\nplugin = "file"\npath = "{day}"\n')
    nobody = {**os.environ, "NOTIFY_SOCKET": f"{tmp_path}/nobody"}  # is worth a line of DEBUG
    assert " DEBUG " not in hard("run", "-c", config, "--stdout", env=nobody).stderr
    assert " DEBUG " in hard(*options, "-c", config, "--stdout", env=nobody).stderr


def test_record_at_a_terminal_says_where_what_and_how_to_go_on(tmp_path):
    config = live(tmp_path)
    with at_a_terminal("record", "-c", config) as (process, terminal):
        shown = ""
        while "sim-1 arrives: accel, gyro" not in shown:
            shown += terminal.read(1000).decode()
        terminal.write(b"cycling\n")
        while "labelled 1 stream" not in shown:
            shown += terminal.read(1000).decode()
        process.send_signal(signal.SIGINT)
        shown += all_shown(terminal)
        assert process.wait(20) == 0
    (session,) = (tmp_path / "conf/state/recordings").iterdir()
    assert f"recording into a new folder in {session.parent}; Ctrl-C stops" in shown
    assert "type a label and Enter; an empty line ends it" in shown
    assert re.search(rf"{session}: \d+ bytes: sim-1 \d+ accel, \d+ gyro", shown)
    assert f"hard inspect {session}" in shown


def test_record_without_a_terminal_and_without_an_end_says_that_it_goes_on(tmp_path):
    pipe = {"stderr": subprocess.PIPE, "text": True}
    with Forked("record", "-c", live(tmp_path), **pipe) as process:
        first, second = process.stderr.readline(), process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert "Ctrl-C stops" in first
    assert "sim-1 arrives: accel, gyro" in second


def test_record_in_a_pipe_says_only_what_was_written(tmp_path):
    done = hard("record", "-c", live(tmp_path), "--duration", 2)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
