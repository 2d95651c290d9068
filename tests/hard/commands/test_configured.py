"""Which configuration a command uses, and where it says so."""

import pytest

from hard.commands.configured import default_path
from tests.hard.commands.calling import hard

WEARER = '[sources.sim]\nplugin = "simulator"\n[sinks.out]\nplugin = "stdout"\n'


def test_the_first_place_that_has_a_configuration_is_taken(tmp_path):
    places = [tmp_path / "hard.toml", tmp_path / "etc/hard.toml"]
    assert default_path(places) is None
    places[1].parent.mkdir()
    places[1].write_text("")
    assert default_path(places) == places[1]
    places[0].write_text("")
    assert default_path(places) == places[0]


def test_without_a_name_the_configuration_of_this_folder_is_used_and_said(tmp_path):
    (tmp_path / "hard.toml").write_text(WEARER)
    done = hard("check", folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == f"using {tmp_path}/hard.toml"
    assert hard("check", "-c", "hard.toml", folder=tmp_path).stderr.startswith("hard.toml: ok")


@pytest.mark.parametrize(
    "command", [["check"], ["run"], ["record"], ["status"], ["label", "a", "b"], ["calibrate", "a"]]
)
def test_without_a_configuration_both_places_are_named(tmp_path, command):
    if default_path([default_path.__globals__["PLACES"][1]]):
        pytest.skip("this machine has a configuration of its own")
    done = hard(*command, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "neither ./hard.toml nor /etc/hard/hard.toml is there" in done.stderr


def test_a_replay_depends_on_no_configuration_that_is_not_named(tmp_path, day):
    (tmp_path / "hard.toml").write_text('[model]\nname = "waist"\n')
    own = hard("replay", "--json", day, folder=tmp_path)
    assert (own.stdout, own.stderr) == (hard("replay", "--json", day).stdout, "")
