"""What the README shows works as shown."""

import re
from pathlib import Path
from typing import get_args

import hard_formats
from hard_formats.series import Format

README = Path(hard_formats.__file__).with_name("README.md").read_text("utf-8")


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})


def test_every_format_is_documented():
    assert all(f"| `{name}` |" in README for name in get_args(Format) if name != "auto")
