"""The recipe of CONTRIBUTING.md, followed by somebody who has read nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hard_training

ROOT = Path(__file__).parents[4]


def test_a_data_set_takes_one_file_and_one_test(tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    block = re.compile(
        r"^```python\n# ((?:test_)?garden\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE
    )
    files = dict(block.findall(text))
    package = tmp_path / "hard_training"
    shutil.copytree(Path(hard_training.__file__).parent, package)
    (package / "datasets" / "garden.py").write_text(files["garden.py"])
    (tmp_path / "test_garden.py").write_text(files["test_garden.py"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_garden.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
