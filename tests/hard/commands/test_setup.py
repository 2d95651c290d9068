"""`hard check` and `hard plugins`; `hard doctor` and `hard sources scan` are in test_doctor.py."""

import json

import pytest

from tests.calling import hard


def test_check_prints_what_is_in_force(tmp_path):
    config = tmp_path / "hard.toml"
    config.write_text('[sources.sim]\nplugin = "simulator"\n[sinks.out]\nplugin = "stdout"\n')
    done = hard("check", "-c", config)
    assert done.returncode == 0
    assert 'model.name = "pocket"' in done.stdout
    assert "sources.sim.rate_hz = 50.0" in done.stdout
    assert json.loads(hard("check", "-c", config, "--json").stdout)["sources.sim.seed"] == 0


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_bad_configuration_is_told_whole_with_code_78(tmp_path, command):
    config = tmp_path / "hard.toml"
    config.write_text('[hard]\nnodes = 1\n[sources.a]\nplugin = "radio"\n[decision]\nenter = 7\n')
    done = hard(command, "-c", config)
    assert (done.returncode, done.stdout) == (78, "")
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
        "hard.nodes",
        "decision.enter",
        "sources.a.plugin",
        "sinks",
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_a_daemon_cannot_begin_without_is_told_with_code_78(tmp_path, command):
    config = tmp_path / "hard.toml"
    config.write_text(
        '[sinks.home]\nplugin = "mqtt"\nusername = "hard"\npassword_file = "missing"\n'
    )
    done = hard(command, "-c", config, folder=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    remedy = "write the password into it, or correct the path"
    assert done.stderr.splitlines() == [
        f'{config}:1: sources: none is configured: add [sources.NAME] with plugin = "mqtt", say',
        f"{config}:4: sinks.home.password_file: {tmp_path}/missing: no such file: {remedy}",
    ]


WEARER = '[sources.sim]\nplugin = "simulator"\n[sinks.out]\nplugin = "stdout"\n'


def checked(folder, text):
    (folder / "hard.toml").write_text(text)
    return hard("check", "-c", "hard.toml", folder=folder)


def test_a_good_configuration_ends_with_ok_beside_what_is_in_force(tmp_path):
    done = checked(tmp_path, WEARER)
    assert done.returncode == 0
    assert done.stderr == "hard.toml: ok (sim, out); hard doctor tries them out\n"


def test_a_credential_is_noted_as_known_to_the_service_only(tmp_path, monkeypatch):
    home = '[sinks.home]\nplugin = "mqtt"\nusername = "me"\npassword_file = "credential:mqtt"\n'
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    note = (
        "note: sinks.home.password_file: a credential of systemd, to be checked in the service only"
    )
    done = checked(tmp_path, WEARER + home)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, note)
    (tmp_path / "mqtt").write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    done = checked(tmp_path, WEARER + home)
    assert (done.returncode, "note:" in done.stderr) == (0, False)


@pytest.mark.parametrize("plugin", ["mqtt", "http"])
def test_a_phone_whose_platform_is_not_set_is_noted(tmp_path, plugin):
    phone = f'{WEARER}[sources.phone]\nplugin = "{plugin}"\n'
    done = checked(tmp_path, phone)
    assert done.returncode == 0
    assert "note: sources.phone.platform: not set: a phone with Sensor Logger" in done.stderr
    for more in ('platform = "ios"\n', 'format = "plain"\n'):
        assert "note:" not in checked(tmp_path, phone + more).stderr


def test_check_refuses_a_state_folder_whose_control_socket_would_be_too_long(tmp_path):
    done = checked(tmp_path, f'{WEARER}[hard]\nstate_dir = "{"deep" * 30}"\n')
    assert (done.returncode, done.stdout) == (78, "")
    assert f"hard.state_dir: too long: the control socket would be {tmp_path}" in done.stderr


@pytest.mark.parametrize("table", ["hard]\nstate_dir", "record]\nfolder"])
def test_check_refuses_folders_that_nothing_can_be_written_to_and_makes_none(tmp_path, table):
    (tmp_path / "file").write_text("")
    done = checked(tmp_path, f'{WEARER}[{table} = "file/state"\n')
    assert (done.returncode, done.stdout) == (78, "")
    key = table.replace("]\n", ".")
    assert done.stderr == f"hard.toml:6: {key}: {tmp_path}/file is no folder: choose another\n"
    assert checked(tmp_path, f'{WEARER}[{table} = "new/state"\n').returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "hard.toml"]


def test_plugins_says_what_each_is_for_under_its_table():
    sources, sinks = hard("plugins").stdout.split("\n\n")
    assert sources.startswith('sources: what plugin = "..." can be under [sources.NAME]\n')
    assert sinks.startswith('sinks: what plugin = "..." can be under [sinks.NAME]\n')
    for part, name in ((sources, "mqtt"), (sources, "serial"), (sinks, "jsonl")):
        (line,) = [line for line in part.splitlines() if line.split()[0] == name]
        assert len(line.split()) > 3


def test_plugins_lists_what_is_installed():
    done = hard("plugins", "--json")
    assert done.returncode == 0
    found = {(p["group"], p["name"]) for p in map(json.loads, done.stdout.splitlines())}
    assert {("sources", "file"), ("sources", "mqtt"), ("sinks", "jsonl")} <= found


@pytest.mark.parametrize("name", ["event", "state", "summary"])
def test_the_schema_of_what_is_published_is_printed(name):
    done = hard("schema", name)
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"] == f"hard {name}, schema 1"


def test_a_schema_that_does_not_exist_is_told():
    done = hard("schema", "sample")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are schemas of event, state, summary" in done.stderr
