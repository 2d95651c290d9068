"""The addresses that a person can type into a phone; the machine's own are as they are."""

import socket

import pytest

from hard_http.addresses import reachable


@pytest.mark.parametrize(
    ("host", "told"),
    [("192.168.1.7", "192.168.1.7"), ("pi.local", "pi.local"), ("fd00::7", "[fd00::7]")],
)
def test_one_address_is_told_as_it_is(host, told):
    assert reachable(host) == [told]


def test_all_addresses_are_told_one_by_one_and_each_is_of_this_machine():
    for address in reachable("0.0.0.0"):
        assert not address.startswith("127.")
        with socket.socket(socket.AF_INET) as listener:
            listener.bind((address, 0))  # no other machine's can be bound


def test_every_wildcard_has_something_to_tell():
    assert all(reachable(host) for host in ("0.0.0.0", "::"))
