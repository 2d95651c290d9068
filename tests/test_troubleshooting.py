"""The page on messages has every warning, error, kind of refusal and exit code, and no other."""

import ast
import re
from pathlib import Path

from hard.commands import terminal

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "systemd/TROUBLESHOOT.md").read_text("utf-8")
SOURCES = [path for root in ("hard", "plugins") for path in sorted((ROOT / root).rglob("*.py"))]
TREES = [ast.parse(path.read_text("utf-8")) for path in SOURCES]
LOGGED = PAGE.partition("## What is logged")[2]
PATTERNS = [row.split("…") for row in re.findall(r"^\| `(.+?)` \|", LOGGED, re.MULTILINE)]


def says(pattern, message):
    """Tell whether the parts of a pattern stand in a message, in their order."""
    return re.search(".*".join(map(re.escape, pattern)), message, re.DOTALL) is not None


def logged():
    """Yield what warnings and errors are made of, where that has words of its own."""
    for tree in TREES:
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"warning", "error", "exception"}
                and isinstance(node.args[0], ast.Constant)
            ):
                template = str(node.args[0].value)
                if re.search(r"[a-z]{3}", re.sub(r"%[-.\d]*[a-z]", "", template)):
                    yield template


def refusals():
    """Return the errors of the daemon that others see."""
    return {
        node.name
        for path, tree in zip(SOURCES, TREES, strict=True)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and path.is_relative_to(ROOT / "hard")
        and {ast.unparse(base) for base in node.bases} & {"Exception", "ValueError", "ControlError"}
    }


def test_every_warning_and_error_is_explained():
    found = list(logged())
    assert len(found) > 40
    assert not [each for each in found if not any(says(p, each) for p in PATTERNS)]


def test_nothing_is_explained_that_nobody_says():
    found = list(logged())
    lonely = ["…".join(p) for p in PATTERNS if not any(says(p, each) for each in found)]
    assert not lonely


def test_every_kind_of_refusal_is_explained():
    rows = re.findall(r"^\| `(\w+)`: ", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(refusals())


def test_every_exit_code_is_explained():
    codes = {
        value for name, value in vars(terminal).items() if name.isupper() and value is not True
    }
    rows = set(map(int, re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)))
    assert rows == {0, 1} | {code for code in codes if isinstance(code, int)}
