"""Which configuration a command uses, and where it says so."""

import json
import shutil

import pytest

from hard.card import ModelCard, ModelRefused
from hard.commands.configured import Models, default_path
from hard.config import Settings, StreamRule
from tests.calling import hard

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
    "command",
    [
        ["check"],
        ["run"],
        ["record"],
        ["status"],
        ["label", "a", "b"],
        ["calibrate", "a"],
        ["reload"],
    ],
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


# -- models --------------------------------------------------------------------------------------


def accel_only(folder, name, placement):
    """Write the card of a model that needs no gyroscope: what it would say matters not here."""
    body = json.loads(ModelCard.load("pocket")[1].with_suffix(".json").read_text("utf-8"))
    body |= {"name": name, "placement": placement, "usual": None}
    body["input"]["channels"] = body["input"]["channels"][:3]
    body["golden"]["window"] = [row[:3] for row in body["golden"]["window"]]
    (folder / f"{name}.json").write_text(json.dumps(body), "utf-8")
    (folder / f"{name}.tflite").write_bytes(b"")


@pytest.fixture
def settings(tmp_path):
    for suffix in (".json", ".tflite"):
        source = ModelCard.load("pocket")[1].with_suffix(suffix)
        shutil.copy(source, (tmp_path / "own").with_suffix(suffix))
    return Settings.model_validate({"model": {"name": str(tmp_path / "own.json")}})


def test_without_a_gyroscope_nothing_of_another_placement_is_taken(tmp_path, settings):
    accel_only(tmp_path, "hat", "hat")
    found = Models(settings).without_gyro("phone-1")
    assert found is None or found[0].card.placement == "pocket"


def test_a_model_without_gyroscope_that_can_not_be_used_is_told_and_left(
    tmp_path, settings, caplog
):
    accel_only(tmp_path, "mine", ModelCard.load("pocket")[0].placement)
    models = Models(settings)
    models.load_all()
    found = models.without_gyro("phone-1")
    assert found is None or found[0].card.name != "mine"
    for _ in range(2):
        models.without_gyro("phone-1")
    assert caplog.text.count("can't do without a gyroscope") == 1


def test_what_has_not_changed_is_not_loaded_again(settings):
    models = Models(settings)
    models.load_all()
    before = models.load(settings.model.name)
    other = settings.model_copy(update={"streams": [StreamRule(match="belt-*", model="waist")]})
    renewed = models.renewed(other)
    assert renewed.load(settings.model.name) is before
    assert [identity.partition("@")[0] for identity in renewed.identities()] == ["pocket", "waist"]
    assert [i.partition("@")[0] for i in renewed.renewed(settings).identities()] == ["pocket"]


def test_a_file_that_changed_behind_its_path_is_refused(tmp_path, settings):
    models = Models(settings)
    models.load_all()
    with (tmp_path / "own.tflite").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelRefused, match="its sha256 is"):
        models.renewed(settings)
    assert models.identities()
