import platform
import sys
from pathlib import Path

import pytest

from hard.service import (
    HOME,
    Places,
    ServiceError,
    done,
    install_plan,
    shipped,
    uninstall_plan,
    unit_of,
)

SYSTEMD = Path(__file__).parents[2] / "systemd"


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def put_in_place(places, **options):
    """Do of a plan all that concerns files: the program itself is another matter."""
    steps = [s for s in install_plan(places, **options) if str(places.root) in s.shown]
    done(steps, lambda _: None)


def test_the_service_is_put_in_place_file_by_file(tmp_path):
    put_in_place(Places(tmp_path), secret="a secret")
    assert files(tmp_path) == [
        "etc/credstore/hard-mqtt-password",
        "etc/hard/hard.toml",
        "etc/systemd/system/hard.service",
        "etc/udev/rules.d/60-hard-serial.rules",
        "usr/local/bin/hard",
    ]
    password = tmp_path / "etc/credstore/hard-mqtt-password"
    assert password.read_text() == "a secret\n"
    assert password.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "usr/local/bin/hard").readlink() == HOME / "bin/hard"


def test_a_second_time_nothing_is_left_to_do(tmp_path):
    put_in_place(Places(tmp_path))
    again = [s for s in install_plan(Places(tmp_path)) if str(tmp_path) in s.shown]
    assert again == []


def test_a_unit_of_old_is_replaced_and_a_configuration_kept(tmp_path):
    places = Places(tmp_path)
    put_in_place(places)
    places.unit(None).write_text("[Unit]\n")
    places.configuration(None).write_text("# mine\n")
    put_in_place(places)
    assert places.unit(None).read_bytes() == (SYSTEMD / "hard.service").read_bytes()
    assert places.configuration(None).read_text() == "# mine\n"


def test_a_unit_is_there_whether_we_or_a_package_put_it_in_place(tmp_path):
    assert not Places(tmp_path).has_unit(None)
    put_in_place(Places(tmp_path))
    assert Places(tmp_path).has_unit(None)
    assert not Places(tmp_path).has_unit("garage")
    packaged = tmp_path / "usr/lib/systemd/system"
    packaged.mkdir(parents=True)
    (packaged / "hard@.service").touch()
    assert Places(tmp_path).has_unit("garage")


def test_another_instance_has_a_configuration_of_its_own(tmp_path):
    put_in_place(Places(tmp_path), instance="garage")
    assert "etc/hard/garage.toml" in files(tmp_path)
    assert "etc/systemd/system/hard@.service" in files(tmp_path)
    assert unit_of("garage") == "hard@garage.service"


def test_the_units_of_instances_differ_from_the_only_one_by_their_names():
    only = (SYSTEMD / "hard.service").read_text()
    for plain, named in (
        ("Description=Human Activity Recognition Daemon\n", ", %i\n"),
        ("hard run -c /etc/hard/hard.toml\n", "/etc/hard/%i.toml\n"),
        ("hard reload -c /etc/hard/hard.toml\n", "/etc/hard/%i.toml\n"),
        ("StateDirectory=hard\n", "-%i\n"),
        ("RuntimeDirectory=hard\n", "-%i\n"),
    ):
        assert only.count(plain) == 1
        instead = plain.replace("/etc/hard/hard.toml\n", named)
        only = only.replace(plain, plain[:-1] + named if instead == plain else instead)
    assert (SYSTEMD / "hard@.service").read_text() == only


@pytest.mark.parametrize("name", ["../etc", "a b", "", "x" * 65, "é"])
def test_an_instance_with_a_strange_name_is_refused(name):
    with pytest.raises(ServiceError, match="an instance is named by"):
        unit_of(name)


def test_the_plan_begins_with_a_program_outside_of_anybodys_home(tmp_path):
    assert sys.prefix != str(HOME)
    steps = install_plan(Places(tmp_path), source="hard_daemon-0.1.0-py3-none-any.whl")
    assert steps[0].shown.startswith("/usr/bin/python3")
    assert str(HOME) in steps[0].shown
    assert "--constraint" in steps[1].shown
    assert steps[1].shown.endswith("hard_daemon-0.1.0-py3-none-any.whl")


@pytest.mark.parametrize(("machine", "sees"), [("armv7l", True), ("aarch64", False)])
def test_on_32_bit_arm_numpy_is_the_machines_own(tmp_path, monkeypatch, machine, sees):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    environment = install_plan(Places(tmp_path))[0]
    assert ("--system-site-packages" in environment.shown) == sees


def test_without_a_network_it_comes_from_a_folder_of_wheels(tmp_path):
    install = install_plan(Places(tmp_path), wheels=tmp_path / "wheels")[1]
    assert f"--no-index --find-links {tmp_path / 'wheels'}" in install.shown


def test_taking_it_away_keeps_what_is_the_users_own(tmp_path):
    places = Places(tmp_path)
    put_in_place(places, secret="a secret")
    done(uninstall_plan(places), lambda _: None)
    assert files(tmp_path) == ["etc/credstore/hard-mqtt-password", "etc/hard/hard.toml"]


def test_a_purge_leaves_nothing(tmp_path):
    places = Places(tmp_path)
    put_in_place(places, secret="a secret")
    state = tmp_path / "var/lib/private/hard"
    state.mkdir(parents=True)
    (state / "events.db").write_bytes(b"x")
    (tmp_path / "var/lib/hard").symlink_to("private/hard")
    done(uninstall_plan(places, purge=True), lambda _: None)
    assert files(tmp_path) == []


def test_a_step_that_fails_is_named(tmp_path):
    (tmp_path / "etc").write_text("no folder")
    with pytest.raises(ServiceError, match=r"etc/systemd/system/hard\.service"):
        put_in_place(Places(tmp_path))


def test_what_is_shipped_is_found_and_what_is_not_is_named():
    assert shipped("hard.service").is_file()
    with pytest.raises(ServiceError, match="nonsense"):
        shipped("nonsense")
