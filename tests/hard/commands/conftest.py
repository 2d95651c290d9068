"""A recording that the tests of several commands read."""

import pytest

from tests.calling import hard


@pytest.fixture(scope="session")
def day(tmp_path_factory):
    """Return a simulated recording with its labels."""
    path = tmp_path_factory.mktemp("day") / "day.csv"
    script = ["standing:20", "walking:40", "sitting:30", "running:20"]
    options = [x for entry in script for x in ("--script", entry)]
    assert hard("simulate", path, *options, "--seed", 3).returncode == 0
    return path
