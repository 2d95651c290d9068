"""A broker per test."""

import pytest

from tests.broker import Broker


@pytest.fixture
def stopped_broker(tmp_path):
    """For tests that close it to strangers before it starts."""
    broker = Broker(tmp_path)
    yield broker
    broker.close()


@pytest.fixture
def broker(stopped_broker):
    stopped_broker.start()
    return stopped_broker
