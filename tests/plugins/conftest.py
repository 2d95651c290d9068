"""What the tests of several sources share: a running source, a free port."""

import socket

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


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
