"""Time zones by name, and this machine's."""

import os
import subprocess
import sys
from datetime import UTC

import pytest

from hard.zones import machine_zone, zone_named


def test_a_zone_is_found_by_its_name():
    assert str(zone_named("Europe/Berlin")) == "Europe/Berlin"
    assert str(zone_named("UTC")) == "UTC"


def test_a_machine_without_zones_knows_them_all_the_same():
    code = "from hard.zones import zone_named; print(zone_named('Europe/Berlin'))"
    bare = {**os.environ, "PYTHONTZPATH": ""}
    told = subprocess.check_output([sys.executable, "-c", code], env=bare, text=True)
    assert told == "Europe/Berlin\n"


@pytest.mark.parametrize("name", ["Berlin", "", "../etc/passwd", "Europe"])
def test_an_unknown_zone_is_told_with_the_remedy(name):
    with pytest.raises(ValueError, match="give an IANA name such as Europe/Berlin"):
        zone_named(name)


def test_the_machines_zone_is_where_localtime_points_to(tmp_path, monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    zone = tmp_path / "zoneinfo/Asia/Tokyo"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (tmp_path / "localtime").symlink_to(zone)
    assert str(machine_zone(tmp_path / "localtime")) == "Asia/Tokyo"


def test_the_environment_goes_before(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", ":America/Lima")
    assert str(machine_zone(tmp_path / "localtime")) == "America/Lima"


def test_a_machine_that_does_not_say_is_in_utc(tmp_path, monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    assert machine_zone(tmp_path / "localtime") is UTC
