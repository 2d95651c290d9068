"""The command line as a whole: its help, its completion, its start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hard.card import ModelCard, bundled
from tests.calling import hard

COMMANDS = [
    "init",
    "replay",
    "inspect",
    "evaluate",
    "run",
    "record",
    "status",
    "label",
    "calibrate",
    "pause",
    "resume",
    "reload",
    "top",
    "forget",
    "backup",
    "restore",
    "check",
    "plugins",
    "doctor",
    "schema",
    "simulate",
    "bench",
    "events",
    "events redeliver",
    "models list",
    "models verify",
    "models install",
    "models set",
    "sources scan",
    "service status",
    "service logs",
    "ha remove",
    "ha list",
    "ha show",
]


def test_help_imports_nothing_heavy():
    program = (
        "import sys, hard.cli\n"
        "heavy = {'numpy', 'pydantic', 'tflite_runtime', 'ai_edge_litert', 'paho'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_names_every_command_in_one_whole_line():
    listed = hard("--help").stdout.partition("Commands:\n")[2].split("\n\n")[0].splitlines()
    groups = dict.fromkeys(command.split()[0] for command in COMMANDS)
    assert [line.split()[0] for line in listed] == list(groups)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = hard(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert re.search(rf"Examples:\n +hard {command}\b", done.stdout)
    assert "-v, --verbose" in done.stdout


def test_the_shell_can_complete_commands_and_options():
    assert completed("hard re") == ["replay", "record", "resume", "reload", "restore"]
    assert completed("hard record --dur") == ["--duration"]
    assert completed("hard sources s") == ["scan"]


def completed(line):
    """Return what bash would offer at the end of a line."""
    typed = {
        "_HARD_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    script = Path(sys.executable).with_name("hard")
    asked = subprocess.run(
        [script], capture_output=True, text=True, check=True, env=os.environ | typed
    )
    return asked.stdout.split()


def test_the_versions_of_daemon_runtime_and_models_are_told():
    daemon, runtime, models = hard("--version").stdout.splitlines()
    assert re.fullmatch(r"hard \d+\.\d+\.\d+", daemon)
    assert re.fullmatch(
        r"(tflite-runtime|ai-edge-litert) [\d.]+, numpy [\d.]+, Python [\d.]+", runtime
    )
    assert models.split(", ") == [ModelCard.load(name)[0].identity for name in bundled()]
