"""`hard.config`: every error at once, with file, line and key."""

import json
import os
import re

import pytest

from hard.card import ModelCard
from hard.config import ConfigError, Settings, load, state_folder
from hard.plugins import available, explain
from hard.plugins import load as load_plugin
from hard.zones import machine_zone
from tests.hard.signals import card_fields
from tests.models import written

GOOD = """
[hard]
node = "pi"

[sources.phone]
plugin = "mqtt"
host = "broker.local"
password_file = "/run/secret"

[sinks.log]
plugin = "jsonl"
path = "events.jsonl"
"""


def write(tmp_path, text):
    path = tmp_path / "hard.toml"
    path.write_text(text, "utf-8")
    return path


def errors_of(path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_no_file_gives_the_defaults():
    configuration = load(None)
    assert configuration.settings.model.name == "pocket"
    assert configuration.sources == {}


def test_a_good_file_makes_the_configured_instances(tmp_path):
    configuration = load(write(tmp_path, GOOD))
    assert configuration.settings.hard.node == "pi"
    assert configuration.sources["phone"].config.host == "broker.local"
    assert configuration.sinks["log"].node == "pi"


def test_what_is_in_force_is_told_with_defaults_and_without_secrets(tmp_path):
    effective = load(write(tmp_path, GOOD)).effective()
    assert effective["sources.phone.port"] == 1883
    assert effective["decision.no_data_after_s"] == 10.0
    assert effective["sources.phone.password_file"] == "/run/secret"
    assert not any(key.endswith(".password") for key in effective)


def test_all_errors_are_told_at_once_with_file_line_and_key(tmp_path):
    path = write(
        tmp_path,
        """[hard]
nodes = "pi"

[decision]
enter = "much"

[sources.phone]
plugin = "mqtt"
port = "1883"
hots = "x"

[sources.radio]
plugin = "radio"

[sinks.log]
plugin = "jsonl"
""",
    )
    lines = errors_of(path)
    assert len(lines) == 6
    assert lines[0] == f'{path}:2: hard.nodes: unknown key; did you mean "node"?'
    assert lines[1].startswith(f"{path}:5: decision.enter: ")
    assert any(line.startswith(f"{path}:9: sources.phone.port: ") for line in lines)
    assert f'{path}:10: sources.phone.hots: unknown key; did you mean "host"?' in lines
    assert any(
        line.startswith(f"{path}:13: sources.radio.plugin: no source plugin 'radio'")
        for line in lines
    )
    assert any(line.startswith(f"{path}:15: sinks.log.path: missing") for line in lines)


def test_a_wrong_model_and_plugin_are_told_beside_whatever_else_is_wrong(tmp_path):
    text = (
        '[sources.phone]\nplugin = "mqtt"\nhots = "x"\n[sources."bad name"]\nplugin = "mqtt"\n'
        '[[streams]]\nmatch = "a"\nmodel = "pockte"\ntimezone = "Mars"\n'
        '[[streams]]\nmodel = "pockt"\n'
    )
    lines = errors_of(write(tmp_path, text))
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{tmp_path}/hard.toml:{number}", key]
        for number, key in (
            (9, "streams.0.timezone"),
            (10, "streams.1.match"),
            (4, "sources.bad name"),
            (8, "streams.0.model"),
            (11, "streams.1.model"),
            (3, "sources.phone.hots"),
        )
    ]


def test_a_model_that_is_installed_is_not_missed_beside_an_error(tmp_path):
    text = f'[hard]\nnodes = "x"\nstate_dir = "{tmp_path}"\n[model]\nname = "own"\n'
    written(tmp_path / "models/own", stem="own", name="own")
    (line,) = errors_of(write(tmp_path, text))
    assert "hard.nodes" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[hard]\nnode = "a b"', "hard.node: must be 1 to 64 letters (a to z, A to Z), digits, _"),
        ('[sinks.own]\nplugin = "exec"\ncommand = "a"', 'command: must be a list, such as ["a", '),
        ('[sinks]\nplugin = "stdout"', "sinks.plugin: must be a table: begin it with [sinks.NAME]"),
        ('[sinks."a b"]\nplugin = "stdout"', "sinks.a b: must be 1 to 64 letters"),
        ("[model]\nname = 7", "model.name: must be text in quotes (it is 7)"),
    ],
)
def test_what_a_setting_must_be_is_told_in_plain_words(tmp_path, text, told):
    (line,) = errors_of(write(tmp_path, text))
    assert told in line


def test_every_form_that_a_setting_must_have_is_told_in_words():
    kinds = [load_plugin(g, p.name).Config for g in ("sources", "sinks") for p in available(g)]
    schemas = json.dumps([kind.model_json_schema() for kind in [*kinds, Settings]])
    for pattern in set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', schemas)):
        fault = {"type": "string_pattern_mismatch", "loc": ("key",), "input": 1, "msg": ""}
        _, told = explain({**fault, "ctx": {"pattern": json.loads(pattern)}}, [])
        assert told.startswith("must be "), pattern


def test_an_unknown_key_that_is_like_none_is_told_with_those_that_are_known(tmp_path):
    (line,) = errors_of(write(tmp_path, "[model]\nweight = 7\n"))
    assert line.endswith(":2: model.weight: unknown key; known here: name")


def test_a_fault_of_a_whole_table_is_told_by_the_tables_name(tmp_path):
    text = '[sources.phones]\nplugin = "mqtt"\ntls = true\nclient_key = "key"\n'
    (line,) = errors_of(write(tmp_path, text))
    assert line.startswith(f"{tmp_path}/hard.toml:1: sources.phones: client_key needs client_cert")


def test_what_is_named_relatively_is_beside_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf/hard.toml"
    path.write_text(
        '[hard]\nstate_dir = "state"\n[record]\nfolder = "../walks"\n'
        '[sources.day]\nplugin = "file"\npath = "day.csv"\n'
        '[sources.phone]\nplugin = "mqtt"\nusername = "me"\npassword_file = "secret"\n'
        '[sinks.home]\nplugin = "mqtt"\nusername = "me"\npassword_file = "credential:mqtt"\n'
        'tls = true\nclient_cert = "my.pem"\nclient_key = "credential:key"\n'
        '[sinks.log]\nplugin = "jsonl"\npath = "/var/events.jsonl"\n'
    )
    monkeypatch.chdir(tmp_path)
    for given in (path, path.relative_to(tmp_path)):
        effective = load(given).effective()
        assert effective["hard.state_dir"] == f"{tmp_path}/conf/state"
        assert effective["record.folder"] == f"{tmp_path}/conf/../walks"
        assert effective["sources.day.path"] == f"{tmp_path}/conf/day.csv"
        assert effective["sources.phone.password_file"] == f"{tmp_path}/conf/secret"
        assert effective["sinks.home.password_file"] == "credential:mqtt"
        assert effective["sinks.home.client_cert"] == f"{tmp_path}/conf/my.pem"
        assert effective["sinks.home.client_key"] == "credential:key"
        assert effective["sinks.log.path"] == "/var/events.jsonl"
        assert effective["model.name"] == "pocket"


def test_a_models_card_is_beside_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    card, tflite = ModelCard.load("waist")
    (tmp_path / "mine.json").write_text(tflite.with_suffix(".json").read_text())
    for name in ("mine.json", f"../{tmp_path.name}/mine"):
        settings = load(write(tmp_path, f'[model]\nname = "{name}"\n')).settings
        assert ModelCard.load(settings.model_for("any"))[0] == card
    rule = '[[streams]]\nmatch = "belt"\nmodel = "mine.tflite"\n'
    assert load(write(tmp_path, rule)).settings.model_for("belt") == f"{tmp_path}/mine.tflite"


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = '[hard]\nstate_dir = "~/hard"\n[record]\nfolder = "~/walks"\n'
    settings = load(write(tmp_path, text)).settings
    assert settings.hard.state_dir == tmp_path / "hard"
    assert settings.record.folder == tmp_path / "walks"
    (error,) = errors_of(write(tmp_path, '[hard]\nstate_dir = "~nobody-here/x"\n'))
    assert "hard.state_dir" in error
    assert "give an absolute path" in error
    (error,) = errors_of(
        write(tmp_path, '[sinks.log]\nplugin = "jsonl"\npath = "~nobody-here/x"\n')
    )
    assert ":3: sinks.log.path: " in error
    log = load(write(tmp_path, '[sinks.log]\nplugin = "jsonl"\npath = "~/x"\n')).sinks["log"]
    assert log.config.path == tmp_path / "x"


def test_a_secret_that_only_systemd_knows_is_not_looked_for(tmp_path, monkeypatch):
    text = f"""{GOOD}
[sinks.home]
plugin = "mqtt"
password_file = "credential:mqtt"
"""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert load(write(tmp_path, text), ["sinks"]).sinks
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigError, match="LoadCredential=mqtt"):
        load(write(tmp_path, text), ["sinks"])
    (tmp_path / "mqtt").write_text("secret")
    assert load(write(tmp_path, text), ["sinks"]).sinks


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[sinks.log]\nplugin = "jsonl"\npath = "ev\\u0000.jsonl"', "sinks.log.path"),
        ('[hard]\nstate_dir = "st\\u0000"', "hard.state_dir"),
    ],
)
def test_a_path_with_a_nul_is_refused_by_its_key(tmp_path, text, key):
    (line,) = errors_of(write(tmp_path, text))
    assert key in line
    assert "NUL" in line


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "hard.toml")
    for path in (tmp_path / "hard.toml", tmp_path):
        assert "no regular file" in errors_of(path)[0]
    assert state_folder(tmp_path / "hard.toml") is None


def test_a_missing_file_is_named(tmp_path):
    assert errors_of(tmp_path / "none.toml") == [
        f"{tmp_path / 'none.toml'}: can't be read: No such file or directory"
    ]


@pytest.mark.parametrize("text", ["[hard", "= 1", "\x00", "a = 1\na = 2"])
def test_what_is_no_toml_is_told_with_its_place(tmp_path, text):
    (line,) = errors_of(write(tmp_path, text))
    assert line.startswith(f"{tmp_path / 'hard.toml'}: not valid TOML: ")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "hard.toml"
    path.write_bytes(b"\xff\xfe\x00")
    (line,) = errors_of(path)
    assert "not valid TOML" in line


def test_a_model_that_is_not_there_is_told_with_what_is(tmp_path):
    (line,) = errors_of(write(tmp_path, '[model]\nname = "ankle"\n'))
    assert ":2: model.name: " in line
    assert "pocket" in line


def test_the_first_matching_rule_chooses_a_streams_model(tmp_path):
    path = write(
        tmp_path,
        '[[streams]]\nmatch = "belt-*"\nmodel = "waist"\n'
        '[[streams]]\nmatch = "*"\nmodel = "pocket"\n',
    )
    settings = load(path).settings
    assert settings.model_for("belt-1") == "waist"
    assert settings.model_for("phone") == "pocket"


def test_a_rule_says_how_a_device_is_mounted(tmp_path):
    path = write(tmp_path, '[[streams]]\nmatch = "belt-*"\naxes = ["y", "-x", "z"]\n')
    settings = load(path).settings
    assert settings.axes_of("belt-1") == ("y", "-x", "z")
    assert settings.axes_of("phone") == ("x", "y", "z")
    assert settings.model_for("belt-1") == "pocket"


@pytest.mark.parametrize(
    ("axes", "why"),
    [('["x", "y", "-z"]', "mirror"), ('["x", "x", "z"]', "once each"), ('["x", "y", ""]', "once")],
)
def test_axes_that_no_device_can_have_are_refused(tmp_path, axes, why):
    (line,) = errors_of(write(tmp_path, f'[[streams]]\nmatch = "*"\naxes = {axes}\n'))
    assert "streams.0.axes" in line
    assert why in line


@pytest.mark.parametrize(
    "text",
    [
        "sources = 1",
        'sources = "x"',
        "[sources]\nphone = 1",
        "[[sources]]\nplugin = 1",
        "hard = []",
        "streams = 1",
        "[[streams]]\n",
        '[sources."bad name"]\nplugin = "mqtt"',
        "[sources.phone]\nplugin = 7",
        "[sources.phone]\n",
    ],
)
def test_a_table_of_the_wrong_shape_is_an_error_and_no_crash(tmp_path, text):
    assert errors_of(write(tmp_path, text))


def test_a_wearer_has_a_time_zone(tmp_path):
    path = tmp_path / "hard.toml"
    path.write_text('[[streams]]\nmatch = "kyoto-*"\ntimezone = "Asia/Tokyo"\n')
    settings = load(path).settings
    assert str(settings.zone_of("kyoto-1")) == "Asia/Tokyo"
    assert settings.zone_of("other") == machine_zone()


def test_a_time_zone_that_does_not_exist_is_told_with_its_line(tmp_path):
    path = tmp_path / "hard.toml"
    path.write_text('[[streams]]\nmatch = "*"\ntimezone = "Tokyo"\n')
    with pytest.raises(ConfigError, match=r"hard\.toml:3: streams\.0\.timezone: .*no time zone"):
        load(path)


def test_a_state_that_no_model_tells_is_refused_and_the_known_ones_are_named(tmp_path):
    text = "[decision]\nno_data_after_s = 5.0\nenter_at = { wlaking = 0.6 }\n"
    (error,) = errors_of(write(tmp_path, text))
    assert ":3: decision.enter_at: 'wlaking' is nothing that the models tell" in error
    assert "walking" in error
    assert "still" in error
    assert "unknown" in error


def test_a_state_of_any_model_in_use_may_be_set(tmp_path):
    lying = "[decision.exit_at]\nlaying = 0.4\nunknown = 0.3\n"
    assert "'laying'" in errors_of(write(tmp_path, lying))[0]
    waist = write(tmp_path, f'{lying}[[streams]]\nmatch = "w/*"\nmodel = "waist"\n')
    assert load(waist).settings.decision.exit_at == {"laying": 0.4, "unknown": 0.3}


@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan"])
def test_a_threshold_of_a_single_state_is_a_probability(tmp_path, value):
    (error,) = errors_of(write(tmp_path, f"[decision.enter_at]\nwalking = {value}\n"))
    assert ":2: decision.enter_at.walking: " in error


@pytest.mark.parametrize("decision", [{"patience": 3.0}, {"lag_s": -1.0}])
def test_a_model_whose_card_sets_what_can_not_be_set_is_refused(tmp_path, decision):
    card = tmp_path / "mine.json"
    card.write_text(json.dumps({**card_fields(), "decision": decision}))
    (error,) = errors_of(write(tmp_path, '[model]\nname = "mine.json"\n'))
    assert f"model.name: the card of the model fake: decision.{next(iter(decision))}: " in error


def test_a_file_that_two_would_write_is_refused_and_both_are_named(tmp_path):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    text = """
[hard]
state_dir = "state"
[sources.old]
plugin = "file"
path = "walk.csv"
[sinks.one]
plugin = "jsonl"
path = "a.jsonl"
[sinks.two]
plugin = "jsonl"
path = "./sub/../link.jsonl"
[sinks.three]
plugin = "sqlite"
path = "state/events.db"
[sinks.four]
plugin = "jsonl"
path = "hard.toml"
[sinks.five]
plugin = "jsonl"
path = "walk.csv"
[sinks.six]
plugin = "influx"
path = "b.lp"
"""
    log = "the event log of hard.state_dir (events.db)"
    doubles = [
        (12, "two", "a.jsonl", "sinks.one.path"),
        (15, "three", "state/events.db", log),
        (18, "four", "hard.toml", "this configuration"),
        (21, "five", "walk.csv", "sources.old.path"),
    ]
    assert faults(tmp_path, text) == [
        f"{tmp_path}/hard.toml:{line}: sinks.{sink}.path: {tmp_path}/{file} is that of {other} "
        "too: give each a file of its own"
        for line, sink, file, other in doubles
    ]


def test_what_is_wrong_with_models_is_told_beside_all_other_errors(tmp_path):
    text = """
[hard]
nodes = "a"
[model]
name = "pocked"
[decision]
enter_at = {flying = 0.5}
[[streams]]
match = "a"
model = "no.json"
[[streams]]
match = "b"
axis = ["x", "y", "z"]
"""
    told = faults(tmp_path, text)
    assert len(told) == 4
    for number, key in (
        (3, "hard.nodes"),
        (5, "model.name"),
        (10, "streams.0.model"),
        (13, "streams.1.axis"),
    ):
        assert any(line.startswith(f"{tmp_path}/hard.toml:{number}: {key}: ") for line in told)
    told = faults(tmp_path, text.replace("axis", "axes"))
    assert [line.split(": ")[1] for line in told] == ["hard.nodes", "model.name", "streams.0.model"]


def faults(folder, text):
    path = folder / "hard.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).splitlines()
