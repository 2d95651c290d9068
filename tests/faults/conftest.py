"""A broker, and what a daemon with restless wearers needs."""

import os
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.faults.installation import Installation
from tests.faults.verifier import Verifier


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    broker.keep_sessions()
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def verifier(broker):
    """Return a subscriber whose session outlives the broker: it is on the broker's disk."""
    verifier = Verifier(broker.port)
    broker.save()
    yield verifier
    verifier.close()


@pytest.fixture
def install(tmp_path, broker):
    """Return what makes the daemon's installation; its options are those of `Installation`."""
    made = []
    data = Path(os.environ.get("HARD_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))

    def make(port=broker.port, folder=tmp_path, **options):
        folder.mkdir(exist_ok=True)
        made.append(Installation(folder, data / "motionsense.zip", port, **options))
        return made[-1]

    yield make
    for installation in made:
        installation.close()
