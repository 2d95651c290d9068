"""What the tests of several sources share: a running source."""

import pytest

from tests.running import Running


@pytest.fixture
def running():
    """Return what runs a source until the test ends."""
    runs = []

    def start(source, kind=Running, **more):
        runs.append(kind(source, **more))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()
