"""A broker per test; certificates for those that want TLS."""

import pytest

from tests.broker import Broker
from tests.plugins.hard_mqtt.secured import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


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
