"""A receiver that ends with the test."""

import pytest

from tests.plugins.hard_delivery.receiver import Receiver


@pytest.fixture
def receiver():
    receivers = []

    def make(*args, **more):
        receivers.append(Receiver(*args, **more))
        return receivers[-1]

    yield make
    for each in receivers:
        each.close()
