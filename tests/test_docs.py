"""The documentation is executed: TOML is loaded, `hard` commands and Python are run, figures told.

A block that can't be run has `<!-- not run: why -->` on the line before it.
"""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from hard import config, pipeline
from hard.card import ModelCard, bundled
from hard.monitoring import Figures
from hard.plugins import available
from hard.testing import sample_events
from tests.broker import Broker
from tests.calling import Forked, hard
from tests.hard.test_monitoring import Told
from tests.test_daemon import Phone, a_walk, messages, simulator

__all__ = ["simulator"]

ROOT = Path(__file__).parents[1]
HARD = Path(sys.executable).with_name("hard")
SAMPLE = ROOT / "tests/data/day.csv"
README = ROOT / "README.md"
SERVICE = ROOT / "systemd/hard.toml"
OPERATING = ROOT / "systemd/OPERATE.md"
PI = ROOT / "systemd/RASPBERRY-PI.md"
DOCUMENTS = sorted([README, ROOT / "CONTRIBUTING.md", *ROOT.glob("plugins/*/README.md")])
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Block:
    """A fenced block; one whose first line is `# FILE` is meant to be in that file."""

    section: str
    language: str
    text: str
    skipped: bool

    @property
    def file(self):
        named = re.match(r"# (\w[\w.-]*\.(?:toml|py))\n", self.text)
        return named and named[1]


def blocks(document):
    found, section = [], ""
    for match in re.finditer(
        r"^## (.+?)$|(<!-- not run: [^\n]+ -->\n)?^```(\w*)\n(.*?)^```$",
        document.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    ):
        heading, skip, language, text = match.groups()
        section = heading or section
        if not heading:
            found.append(Block(section, language, text, skip is not None))
    return found


def documents_with(language):
    return [
        pytest.param(document, id=str(document.relative_to(ROOT)))
        for document in DOCUMENTS
        if any(block.language == language for block in blocks(document))
    ]


@pytest.fixture
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def reader(tmp_path):
    """Where a reader of the documentation works: with a recording of their own."""
    for path in (tmp_path / "walk.csv", tmp_path / "recordings/walk.csv"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(SAMPLE.read_bytes())
    return tmp_path


@pytest.mark.parametrize("document", documents_with("toml"))
def test_every_toml_block_is_a_valid_configuration(document, tmp_path):
    for block in blocks(document):
        if block.language == "toml" and block.file != "pyproject.toml" and not block.skipped:
            path = tmp_path / "hard.toml"
            path.write_text(block.text, "utf-8")
            configured = config.load(path)
            assert configured.sources or configured.sinks


def commands_of(block):
    """Return the arguments of each `hard` command in a block that may be run."""
    if block.language != "sh" or block.skipped:
        return []
    lines = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    return [command[1:] for command in lines if command[:1] == ["hard"]]


def sections_with_commands():
    return [
        pytest.param(document, section, id=f"{document.relative_to(ROOT)}: {section}")
        for document in DOCUMENTS
        for section in dict.fromkeys(b.section for b in blocks(document) if commands_of(b))
    ]


@pytest.mark.parametrize(("document", "section"), sections_with_commands())
def test_every_hard_command_runs(document, section, reader, broker):
    is_reached = False
    for block in blocks(document):
        is_reached = is_reached or block.section == section
        if is_reached and block.section != section:
            break
        if block.file and block.language == "toml":
            # A minimal Debian does not know the name localhost.
            own = f'host = "127.0.0.1"\nport = {broker.port}'
            text = block.text.replace('host = "localhost"', own)
            (reader / block.file).write_text(text, "utf-8")
        for arguments in commands_of(block):
            if arguments[0] == "simulate":
                (reader / arguments[1]).unlink(missing_ok=True)  # a reader has none yet
            if is_reached or arguments[0] == "run":  # what a daemon leaves is needed further on
                run_command(arguments, reader, broker)


def run_command(arguments, folder, broker):
    if arguments[0] != "run":
        call(*arguments, folder=folder)
        return
    watcher = broker.watch("hard/+/status")
    with Forked(*arguments, cwd=folder) as daemon:
        try:
            assert watcher.next(TIMEOUT_S)[1] == b"online"
        finally:
            daemon.terminate()
        assert daemon.wait(TIMEOUT_S) == 0


def test_every_command_of_the_operating_page_works_beside_its_daemon(tmp_path, free_port):
    toml, *commands = [block for block in blocks(OPERATING) if not block.skipped]
    own = toml.text.replace("[metrics]", f"[metrics]\nport = {free_port}")
    (tmp_path / toml.file).write_text(own, "utf-8")
    with Forked("run", cwd=tmp_path) as daemon:
        try:
            until(lambda: answered(f"http://127.0.0.1:{free_port}/readyz") == 200)
            ran = 0
            for line in "".join(block.text for block in commands).splitlines():
                program, *arguments = shlex.split(line)
                ran += 1
                if program == "curl":
                    url = arguments[-1].replace("localhost:9464", f"127.0.0.1:{free_port}")
                    assert answered(f"http://{url}") == 200, line
                else:
                    assert program == "hard", line
                    call(*arguments, folder=tmp_path)
            assert ran > 5
        finally:
            daemon.terminate()
        assert daemon.wait(TIMEOUT_S) == 0


def answered(url):
    try:
        with urlopen(url) as answer:
            return answer.status
    except HTTPError as error:
        return error.code
    except URLError:
        return None


def test_the_page_of_the_raspberry_pi_leads_from_nothing_to_home_assistant(
    tmp_path, broker, simulator
):
    """Each command as printed, but where it lies, on which port, and that systemd does its part."""
    here = tmp_path / "etc/hard/hard.toml"
    here.parent.mkdir(parents=True)
    lines = "".join(b.text for b in blocks(PI) if b.language == "sh" and not b.skipped).splitlines()
    daemon, seen = None, []
    try:
        for line in lines:
            words = [word for word in shlex.split(line) if word != "sudo"]
            words = [str(here) if word == "/etc/hard/hard.toml" else word for word in words]
            if words[0] == "mosquitto_sub":
                watcher = broker.watch(words[words.index("-t") + 1])
                if not seen:
                    walk_past(broker.port, simulator)
                seen.append(watcher.next(TIMEOUT_S)[1])
                announced = watcher.all_seen()
                continue
            assert words[0] in {"hard", ".venv/bin/hard"}, line
            if words[1] == "service":
                if shutil.which("systemctl"):
                    call(*words[1:], "--dry-run", folder=tmp_path)
                daemon = Forked("run", "-c", here, cwd=tmp_path)
                until(lambda: hard("status", "-c", here).returncode == 0)
                continue
            local = [f"127.0.0.1:{broker.port}" if word == "localhost" else word for word in words]
            call(*local[1:], folder=tmp_path)
    finally:
        if daemon is not None:
            daemon.terminate()
            assert daemon.wait(TIMEOUT_S) == 0
    event = json.loads(seen[0])
    assert (event["stream"], event["schema"]) == ("phone-1", 1)
    assert any(b"phone-1" in body for body in (seen[1], *(body for _, body, _ in announced)))


def walk_past(port, simulator):
    """Send what a phone sends of a walk, an Android one."""
    sensors = a_walk(simulator, [("standing", 20), ("walking", 40), ("standing", 20)])
    for name in ("accelerometer", "gravity"):
        sensors[name] = (sensors[name][0], -sensors[name][1])
    phone = Phone(port)
    for number, part in messages(sensors):
        phone.send(number, part)
    phone.close()


def until(condition):
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_the_operating_page_names_every_figure_and_no_other():
    families = {family.name for family in Figures(Told(), 1).collect()}
    told = set(re.findall(r"\bhard_[a-z_]+", OPERATING.read_text("utf-8")))
    assert {name.removesuffix("_total").removesuffix("_info") for name in told} == families


def test_the_operating_page_explains_every_counter_of_the_pipeline_and_no_other():
    parts = ("ordering", "conditioning", "clock", "pipeline", "feeding")
    code = "".join((ROOT / f"hard/{part}.py").read_text("utf-8") for part in parts)
    rows = re.findall(r"^\| `pipeline\.\w+`.*? \|", OPERATING.read_text("utf-8"), re.MULTILINE)
    told = re.findall(r"`pipeline\.(\w+)`", "".join(rows))
    assert sorted(told) == sorted(set(re.findall(r'counts\["(\w+)"\] \+=', code)))


def test_the_operating_page_tells_of_every_sink():
    rows = re.findall(r"^\| `(\w+)` \|", OPERATING.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(plugin.name for plugin in available("sinks"))


def call(*arguments, folder):
    done = hard(*arguments, folder=folder, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, f"{arguments} in {folder}: {done.stderr}"


def run(command, folder):
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, f"{command} in {folder}: {done.stderr}"


@pytest.mark.parametrize("document", documents_with("python"))
def test_every_python_block_runs(document, reader):
    for block in blocks(document):
        if block.language == "python" and not block.skipped:
            program = reader / (block.file or "block.py")
            program.write_text(block.text, "utf-8")
            run([sys.executable, program.name], reader)


def test_the_readme_shows_the_pipe_as_the_code_does():
    drawing = next(b.text for b in blocks(README) if "source plugins" in b.text)
    assert drawing in pipeline.__doc__


def test_the_readme_declares_a_plugin_where_the_daemon_looks():
    table = next(tomllib.loads(b.text) for b in blocks(README) if b.file == "pyproject.toml")
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert table["project"]["entry-points"].keys() <= installed["project"]["entry-points"].keys()
    assert table["project"]["dependencies"] == [installed["project"]["name"]]


def test_the_readme_has_the_figures_of_the_model_cards():
    assert bundled()
    rows = re.findall(r"^\| `[\w-]+` \|.*%.*\|$", README.read_text("utf-8"), re.MULTILINE)
    assert rows == [figures(ModelCard.load(name)[0]) for name in bundled()]
    for name in bundled():
        timeline = ModelCard.load(name)[0].provenance.metrics["test_timeline"]
        shown = f"{timeline['mean_accuracy']:.1%}"
        told = rf"{shown}( of the\s+labelled time is right)?\s+for\s+`{name}`"
        assert re.search(told, README.read_text("utf-8"))


def figures(card):
    test = card.provenance.metrics["test"]
    low, high = test["interval_95"]
    data_set = card.provenance.data_sets[0].partition(" (")[0]
    return (
        f"| `{card.name}` | {len(test['people'])} people of {data_set} "
        f"| {test['windows']} | {test['mean_accuracy']:.1%} ({low:.1%} to {high:.1%}) "
        f"| {test['macro_f1']:.3f} |"
    )


def test_the_readme_names_every_field_of_an_event():
    status = replace(sample_events(1)[0], kind="status")
    named = set(re.findall(r"`(\w+)`", README.read_text("utf-8")))
    assert {field.removesuffix("_ns") for field in status.delivered(0)} <= named


def test_the_readme_names_every_exit_code_that_the_unit_does_not_restart():
    unit = (ROOT / "systemd/hard.service").read_text("utf-8")
    codes = re.search(r"^RestartPreventExitStatus=(.+)$", unit, re.MULTILINE)[1].split()
    listed = re.findall(
        r"^\| (\d+) \| .*not restarted \|$", README.read_text("utf-8"), re.MULTILINE
    )
    assert listed == codes


def test_a_commented_value_of_the_service_is_the_default(tmp_path):
    text = SERVICE.read_text("utf-8")
    uncommented, values = re.subn(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)
    path = tmp_path / "hard.toml"
    path.write_text(uncommented, "utf-8")
    assert values > 20
    assert config.load(path).effective() == config.load(SERVICE).effective()


def test_the_service_shows_every_setting():
    shown = set(re.findall(r"^#? ?(\w+) = ", SERVICE.read_text("utf-8"), re.MULTILINE))
    in_force = {key.rpartition(".")[2] for key in config.load(SERVICE).effective()}
    assert in_force - {"streams"} <= shown


def test_the_examples_of_the_service_can_be_used_as_they_stand(tmp_path):
    example = r"^# (?=\[|\w+ = )"
    uncommented = re.sub(example, "", SERVICE.read_text("utf-8"), flags=re.MULTILINE)
    path = tmp_path / "hard.toml"
    path.write_text(uncommented, "utf-8")
    configured = config.load(path)
    assert configured.settings.model_for("belt-1") == "waist"
    assert set(configured.sinks) == {"home", "log", "history", "hook", "influx", "own"}


def test_the_bundled_recording_is_what_the_simulator_makes(tmp_path):
    again = tmp_path / "day.csv"
    run(["make", "sample", f"SAMPLE={again}", f"BIN={HARD.parent}"], ROOT)
    for made, kept in zip(rows(again), rows(SAMPLE), strict=True):
        assert (made["t_ns"], made["label"]) == (kept["t_ns"], kept["label"])
        for channel in ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"):
            # Sines differ in the last digit from machine to machine.
            assert float(made[channel]) == pytest.approx(float(kept[channel]), abs=2e-4)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_demo_recognises_most_of_the_bundled_recording(tmp_path):
    windows = tmp_path / "windows.csv"
    run([HARD, "replay", SAMPLE, "--predictions", windows], tmp_path)
    labels = {int(row["t_ns"]): row["label"] for row in rows(SAMPLE)}
    middles = [(int(r["t_start_ns"]) + int(r["t_end_ns"])) // 2 for r in rows(windows)]
    true = [labels[min(labels, key=lambda t: abs(t - middle))] for middle in middles]
    said = [row["activity"] for row in rows(windows)]
    assert sum(map(str.__eq__, true, said)) >= 0.8 * len(said) > 50
