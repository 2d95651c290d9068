"""Imports point one way, and nothing knows the machine that it was written on."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("hard", "plugins", "training")
LAYERS = (
    {"api", "tilt"},
    {
        "cadence",
        "card",
        "clock",
        "configfile",
        "cursor",
        "daily",
        "eventfile",
        "inbox",
        "metrics",
        "ordering",
        "plugins",
        "recording",
        "resampling",
        "schema",
        "scrubbing",
        "service",
        "smoothing",
        "snapshot",
        "systemd",
        "testing",
        "upright",
        "vocabulary",
        "wallclock",
        "zones",
    },
    {"conditioning", "debugging", "eventrows", "history", "novelty", "states", "summaries"},
    {"eventlog", "evidence", "inspection", "windowing"},
    {"classifier", "commanding", "decision", "threads"},
    {"config", "feeding", "instances", "pipeline", "proofs", "scoring", "setups"},
    {"runtime"},
    {"control", "monitoring", "replay"},
    {"doctor", "evaluation", "explaining"},
    {"outputs"},
    {"backup", "bench", "bundle", "checkpoint", "installing", "plots"},
    {"commands.options", "commands.terminal"},
    {"commands.configured", "commands.reading"},
    {"commands.dialogue", "commands.reloading"},
    {
        "commands.daemon",
        "commands.evaluation",
        "commands.events",
        "commands.home_assistant",
        "commands.init",
        "commands.live",
        "commands.models",
        "commands.recordings",
        "commands.service",
        "commands.setup",
        "commands.state",
        "commands.top",
        "commands.trial",
    },
    {"cli"},
    {"__main__"},
)
"""Modules of `hard` from the bottom up; one imports only from the layers below its own."""
OF_PLUGINS = {"paho", "serial", "websockets", "zeroconf"}
OF_TRAINING = {"hard_training", "sklearn", "tensorflow", "tf_keras"}


def modules(folder):
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def imports(path):
    """Yield every module that a file imports anywhere, for its types too, by its full name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module in {"hard", "hard.commands"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def packages(path):
    return {name.partition(".")[0] for name in imports(path)}


def of_hard(path):
    return {name.removeprefix("hard.") for name in imports(path) if name.startswith("hard.")}


def named(paths):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def test_every_module_of_hard_has_its_layer():
    found = [path.relative_to(ROOT / "hard").with_suffix("").parts for path in modules("hard")]
    named = {".".join(parts) for parts in found if parts[-1] != "__init__"}
    assert named == set().union(*LAYERS)


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_a_layer_imports_only_from_those_below(number):
    below = set().union(*LAYERS[:number])
    for module in LAYERS[number]:
        assert of_hard(ROOT / "hard" / f"{module.replace('.', '/')}.py") <= below, module


@pytest.mark.parametrize("path", named(modules("hard")))
def test_the_daemon_knows_no_plugin_and_no_library_of_one(path):
    strangers = OF_PLUGINS | OF_TRAINING
    assert not {p for p in packages(path) if p in strangers or p.startswith("hard_")}


@pytest.mark.parametrize("path", named(modules("plugins")))
def test_a_plugin_imports_only_the_api_itself_and_the_decoders(path):
    own = path.relative_to(ROOT / "plugins").parts[0]
    assert of_hard(path) <= {"api"}
    shared = {"hard_delivery", "hard_formats"}
    assert {p for p in packages(path) if p.startswith("hard_")} <= {own} | shared
    assert not packages(path) & OF_TRAINING


@pytest.mark.parametrize("path", named(modules("training")))
def test_training_uses_the_edge_but_neither_runtime_nor_command_line(path):
    assert not {name.partition(".")[0] for name in of_hard(path)} & {"runtime", "cli", "commands"}
    ours = {p for p in packages(path) if p.startswith("hard_")}
    assert ours <= {"hard_training", "hard_file", "hard_simulator"}


def test_nothing_names_a_path_of_a_machine():
    home = re.compile(r"(?<![\w.$}/-])/(?:home|root|work|tmp)/\w")
    texts = [
        path
        for root in (*SOURCE_ROOTS, "tests", "systemd")
        for path in (ROOT / root).rglob("*")
        if path.suffix in {".py", ".md", ".toml", ".service", ".json"} and path.is_file()
    ]
    texts += [path for path in ROOT.iterdir() if path.suffix in {".md", ".toml"}]
    found = [path for path in texts if home.search(path.read_text("utf-8"))]
    assert not found
