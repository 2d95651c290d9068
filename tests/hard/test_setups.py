"""What `hard init` writes can be used, whatever is answered."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.card import ModelCard
from hard.config import checked
from hard.setups import SENDERS, Broker, Setup, model_for, placements

ASKED = {
    "platform": {"platform": "ios"},
    "phone": {"host": "192.0.2.7", "port": 8080},
    "token": {"token_file": "token"},
    "serial": {"port": "/dev/ttyUSB0", "format": "wt901"},
}


def setup(name, **fields):
    sender = SENDERS[name]
    options = {key: value for ask in sender.asks for key, value in ASKED[ask].items()}
    made = Setup(
        node="home",
        sender=sender,
        options=options,
        broker=Broker("localhost"),
        placement="pocket",
        model="pocket-upright",
        timezone="Europe/Berlin",
        state_dir="state",
        events_file="events.jsonl",
    )
    return replace(made, **fields)


@pytest.mark.parametrize("name", SENDERS)
def test_every_sender_makes_a_configuration_that_passes(tmp_path, name):
    (tmp_path / "token").write_text("a-token-of-enough-letters\n")
    path = tmp_path / "hard.toml"
    read = checked(path, setup(name).text(), ["sources", "sinks", "folders"])
    assert read.settings.model_for("any") == "pocket-upright"
    assert str(read.settings.zone_of("any")) == "Europe/Berlin"
    steps = SENDERS[name].steps.format(host="HOST", port=1, url="URL")
    assert "{stream}" not in steps


@pytest.mark.parametrize("name", SENDERS)
def test_what_is_written_leaves_nothing_to_be_noted(tmp_path, name):
    (tmp_path / "token").write_text("a-token-of-enough-letters\n")
    read = checked(tmp_path / "hard.toml", setup(name).text(), ["sources", "sinks", "folders"])
    assert [note for source in read.sources.values() for note in source.advice()] == []


def test_without_a_broker_events_go_into_a_file(tmp_path):
    text = setup("simulator", broker=None).text()
    assert list(checked(tmp_path / "hard.toml", text).sinks) == ["log"]


@given(host=st.text(min_size=1), user=st.text(), file=st.text(min_size=1))
def test_strange_answers_stay_what_they_are(host, user, file):
    broker = Broker(host, 8883, tls=True, ca_file=file, user=user, password_file=file)
    table = tomllib.loads(setup("sensor-logger", broker=broker).text())["sinks"]["home"]
    assert table == {
        "plugin": "mqtt",
        "host": host,
        "port": 8883,
        "tls": True,
        "ca_file": file,
        "username": user,
        "password_file": file,
    }


def test_each_placement_begins_with_a_model_that_knows_it():
    assert placements() == ["pocket", "waist"]
    assert model_for("pocket") == "pocket-upright"
    for placement in placements():
        card, _ = ModelCard.load(model_for(placement))
        assert (card.placement, card.input.uses_gyro) == (placement, True)
    with pytest.raises(KeyError):
        model_for("hat")
