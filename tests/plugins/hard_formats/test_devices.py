"""Two devices under one name are told apart; one that changed its id is not."""

from contextlib import suppress

import pytest

from hard_formats.devices import AT_ONCE_S, MOST_OTHERS, Devices
from hard_formats.series import Refused


def test_the_first_device_has_the_name():
    devices = Devices(10)
    assert devices.other_than("wrist-1", "a", 0.0) is None
    assert devices.other_than("wrist-2", "b", 0.0) is None
    assert devices.other_than("wrist-1", "a", 1000.0) is None


def test_one_that_sends_at_once_with_it_is_another():
    devices = Devices(10)
    devices.other_than("wrist-1", "a", 0.0)
    assert devices.other_than("wrist-1", "b", 1.0) == "a"
    assert devices.other_than("wrist-1", "c", 2.0) == "a"
    assert devices.other_than("wrist-1", "a", 3.0) is None


def test_another_stays_one_after_the_first_fell_silent():
    devices = Devices(10)
    devices.other_than("wrist-1", "a", 0.0)
    devices.other_than("wrist-1", "b", 1.0)
    assert devices.other_than("wrist-1", "b", 10_000.0) == "a"
    assert devices.other_than("wrist-1", "a", 10_001.0) is None


def test_an_app_that_was_installed_anew_takes_its_name_over():
    devices = Devices(10)
    devices.other_than("wrist-1", "old", 0.0)
    assert devices.other_than("wrist-1", "new", AT_ONCE_S + 1) is None
    assert devices.other_than("wrist-1", "new", AT_ONCE_S + 2) is None
    assert devices.other_than("wrist-1", "old", AT_ONCE_S + 3) == "new"


def test_names_and_ids_without_end_take_no_memory_without_end():
    devices = Devices(10)
    for i in range(1000):
        devices.other_than(f"stream-{i}", "a", float(i))
        with suppress(Refused):
            devices.other_than("wrist-1", f"device-{i}", 0.0)
    assert len(devices._names) == 10
    assert len(devices._names["wrist-1"].others) == MOST_OTHERS


def test_an_id_that_changes_with_every_message_is_refused_and_keeps_nobody_out():
    devices = Devices(10)
    devices.other_than("wrist-1", "a", 0.0)
    for i in range(MOST_OTHERS):
        assert devices.other_than("wrist-1", f"b{i}", 1.0) == "a"
    with pytest.raises(Refused, match="6 devices send as stream 'wrist-1'"):
        devices.other_than("wrist-1", "c", 2.0)
    assert devices.other_than("wrist-1", "b0", 3.0) == "a"
    assert devices.other_than("wrist-1", "a", 3.0) is None
    assert devices.other_than("wrist-2", "c", 3.0) is None
