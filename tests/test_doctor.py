"""`hard doctor` and `hard sources scan`: what is looked at, what fails, what to do about it."""

import json
import threading
import time
import tomllib

import pytest

from hard.api import PluginConfig, Source, Stage
from hard.control import ask, places
from hard.doctor import examine, probed, scan_sources, settings_toml
from tests.broker import Broker
from tests.calling import answering, hard
from tests.test_control import configured, started
from tests.test_daemon import until


def found(config):
    """Return (part, name of the stage) -> stage."""
    return {(part, stage.name): stage for part, stage in examine(config, 1.0)}


def status(config):
    return ask(places(config.parent / "state", config), config, "status")


def test_without_a_configuration_what_can_be_told_is_told():
    parts = {part for part, _ in found(None)}
    assert {"clock", "models", "state"} <= parts
    assert not any(part.startswith(("source", "sink")) for part in parts)


def test_a_good_configuration_passes_and_leaves_no_trace(tmp_path):
    config = configured(tmp_path)
    done = hard("doctor", "-c", config, "--json")
    assert done.returncode == 0, done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["part"] for line in lines} >= {"configuration", "models", "source sim"}
    assert not [line for line in lines if line["ok"] is False]
    assert [path.name for path in tmp_path.iterdir()] == ["hard.toml"]


def test_each_fault_of_the_configuration_is_a_failed_stage(tmp_path):
    config = configured(tmp_path)
    config.write_text('[hard]\nnodes = "a"\n[sources.a]\nplugin = "radio"\n', "utf-8")
    done = hard("doctor", "-c", config)
    assert done.returncode == 1
    for fault in ("hard.nodes: unknown key", "sources.a.plugin: no source plugin", "sinks: none"):
        assert fault in done.stdout
    assert "FAIL" in done.stdout
    assert "->" in done.stdout


def test_a_model_that_is_broken_fails_with_its_reason(tmp_path):
    config = configured(tmp_path, '[model]\nname = "model.json"')
    done = hard("doctor", "-c", config)
    assert done.returncode == 1
    assert "model.name" in done.stdout


def test_a_state_folder_that_cannot_be_written_fails(tmp_path):
    (tmp_path / "file").write_text("")
    config = configured(tmp_path)
    text = config.read_text("utf-8").replace("/state", "/file/state")
    config.write_text(text, "utf-8")
    stage = found(config)["state", "writable"]
    assert stage.ok is False
    assert str(tmp_path / "file") in stage.remedy


def test_no_state_folder_is_no_failure_but_said():
    stage = found(None)["state", "writable"]
    assert stage.ok is None
    assert "memory" in stage.detail


def test_the_clock_is_looked_at():
    assert found(None)["clock", "synchronised"].ok in {True, None}


def test_a_running_daemon_answers_for_its_plugins_which_are_left_alone(tmp_path):
    config = configured(tmp_path)
    with started(config) as process:
        stages = found(config)
    assert stages["daemon", "answers"].ok
    assert stages["source sim", "in use"].ok
    assert stages["sink file", "in use"].ok
    assert f"the daemon itself holds it (pid {process.pid})" in stages["sink file", "in use"].detail
    assert "left out and counted: nothing" in stages["source sim", "in use"].detail
    assert stages["streams", "heard"].detail


IN_G = ["t_s,accel_x,accel_y,accel_z", *(f"{i / 50},0,{i % 2 / 100},1" for i in range(500))]


def test_a_stream_that_is_rejected_fails_with_its_reason_and_remedy(tmp_path):
    (tmp_path / "in-g.csv").write_text("\n".join(IN_G))
    config = configured(tmp_path, '[sources.wrong]\nplugin = "file"\npath = "in-g.csv"')
    with started(config):
        until(lambda: "rejected" in [stream["status"] for stream in status(config)["streams"]])
        stage = found(config)["stream in-g", "usable"]
    assert stage.ok is False
    assert "rejected: wrong unit: the resting norm is 1 m/s²" in stage.detail
    assert "declare that (accel_unit, --accel-unit)" in stage.remedy


def test_a_program_that_is_left_alone_is_told_with_the_way_out_which_works(tmp_path):
    own = '[sinks.own]\nplugin = "exec"\ncommand = ["test", "-e", "mended"]\nmax_restarts = 0'
    config = configured(tmp_path, own)
    with started(config):
        until(lambda: "left alone" in str(status(config)["sinks"]))
        stage = found(config)["sink own", "in use"]
        assert "sink own: restarted" in hard("reload", "-c", config).stdout
    assert stage.ok is False
    assert stage.remedy.startswith("mend it (the daemon's log has what it said), then hard reload")


def test_a_daemon_that_does_not_answer_is_told_and_its_plugins_are_left_alone(tmp_path):
    config = configured(tmp_path)
    (tmp_path / "state").mkdir()
    with answering(tmp_path / "state/control.sock", b'{"ok": false, "message": "busy"}\n'):
        stages = found(config)
    assert (stages["daemon", "answers"].ok, stages["daemon", "answers"].detail) == (False, "busy")
    assert not any(part.startswith(("source", "sink")) for part, _ in stages)


def test_a_control_socket_with_too_long_a_path_fails(tmp_path):
    config = configured(tmp_path)
    text = config.read_text("utf-8").replace("/state", f"/{'deep' * 30}")
    config.write_text(text, "utf-8")
    stage = found(config)["state", "control socket"]
    assert stage.ok is False
    assert "103 bytes" in stage.detail


def test_an_absent_broker_fails_and_a_present_one_does_not(tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    config = tmp_path / "hard.toml"
    config.write_text(
        f'[sources.phone]\nplugin = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\n'
        f'[sinks.log]\nplugin = "jsonl"\npath = "{tmp_path}/events.jsonl"\n',
        "utf-8",
    )
    present = hard("doctor", "-c", config, "--seconds", 1)
    broker.close()
    absent = hard("doctor", "-c", config, "--seconds", 1)
    assert present.returncode == 0, present.stdout
    assert absent.returncode == 1, absent.stdout
    assert "FAIL  source phone" in absent.stdout


# -- probes that do not keep their word ----------------------------------------------------------


class Probed(Source):
    """Its probe does what it is told."""

    def __init__(self, stages):
        super().__init__("probed", PluginConfig())
        self._stages = stages

    def run(self, emit, stop):
        del emit, stop

    def probe(self, timeout_s):
        return self._stages(timeout_s)


def test_stages_come_one_by_one_as_they_are_tried():
    go_on = threading.Event()

    def stages(_):
        yield Stage("name", ok=True, detail="resolved")
        assert go_on.wait(5)
        yield Stage("login", ok=False, detail="refused", remedy="check the password")

    seen = probed(Probed(stages), 5.0)
    assert next(seen).name == "name"
    go_on.set()
    assert [stage.remedy for stage in seen] == ["check the password"]


def test_a_probe_with_a_bug_is_a_failed_stage():
    def stages(_):
        yield Stage("name", ok=True, detail="resolved")
        raise ZeroDivisionError

    first, second = probed(Probed(stages), 1.0)
    assert first.ok
    assert second.ok is False
    assert "ZeroDivisionError" in second.detail


def test_a_probe_that_hangs_is_given_up():
    release = threading.Event()

    def stages(_):
        release.wait()
        yield Stage("never", ok=True, detail="")

    begin = time.monotonic()
    (stage,) = probed(Probed(stages), 0.1)
    assert (stage.ok, stage.detail) == (False, "it hangs")
    assert time.monotonic() - begin < 10
    release.set()


def test_a_plugin_without_a_probe_is_named_as_that():
    (stage,) = probed(Probed(lambda _: iter(())), 1.0)
    assert stage.ok is None


# -- scan ----------------------------------------------------------------------------------------


def test_every_installed_source_that_can_look_is_let_look():
    looked = []
    list(scan_sources(0.1, looked.append))
    assert looked == ["serial", "ws"]


def test_scan_tells_where_nothing_is_found_or_what():
    done = hard("sources", "scan", "--seconds", 0.1)
    assert done.returncode == 0
    assert done.stdout or "nothing found" in done.stderr
    assert done.stderr.splitlines()[0] == "serial: looking, up to 0.1 s"
    as_json = hard("sources", "scan", "--seconds", 0.1, "--json")
    assert all("plugin" in json.loads(line) for line in as_json.stdout.splitlines())


@pytest.mark.parametrize("value", ['/dev/serial/by-id/usb-ü\t"x"', 9600, True, 1.5, ["a", "b"]])
def test_what_was_found_is_shown_as_a_table_to_copy(value):
    text = settings_toml("serial", {"port": value})
    assert tomllib.loads(text) == {"sources": {"serial": {"plugin": "serial", "port": value}}}
