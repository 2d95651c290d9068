"""The model card: what a valid one says, and that nothing else is believed."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.card import TRAITS, ModelCard, ModelInput, ModelRefused, bundled
from tests.hard.signals import ACCEL, GYRO, card_fields

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def loaded(folder, content):
    path = folder / "given.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ModelCard.load(path)


def changed(**fields):
    return json.dumps({**card_fields(), **fields})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cards")


def test_a_valid_card_is_loaded_with_the_path_of_its_model(folder):
    card, path = loaded(folder, changed())
    assert card.labels == ("rest", "walk", "run")
    assert path == folder / "given.tflite"
    assert card.identity == f"fake@{card.sha256[:8]}"


@pytest.mark.parametrize("suffix", [".json", ".tflite"])
def test_a_card_is_found_by_its_own_path_and_by_that_of_its_model(folder, suffix):
    loaded(folder, changed())
    assert ModelCard.load(str(folder / f"given{suffix}"))[0].name == "fake"


def test_a_card_that_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ModelRefused, match="no regular file"):
        ModelCard.load(tmp_path / "pipe.json")


def test_bundled_models_are_found_by_name():
    assert "pocket" in bundled()
    card, path = ModelCard.load("pocket")
    assert card.name == "pocket"
    assert path.is_file()


@pytest.mark.parametrize("name", ["nobody", "", ".", "..", "/", "a/b", "../pocket", "x\0y"])
def test_a_missing_card_is_refused_and_the_bundled_ones_are_named(name):
    with pytest.raises(ModelRefused):
        ModelCard.load(name)
    with pytest.raises(ModelRefused, match=r"bundled models: .*pocket"):
        ModelCard.load("nobody")


@settings(deadline=None, max_examples=80)
@given(content=st.one_of(st.binary(max_size=60), JSON.map(json.dumps).map(str.encode)))
def test_garbage_is_refused(folder, content):
    with pytest.raises(ModelRefused):
        loaded(folder, content)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, '"\ud800"'.encode("utf-8", "replace")],
)
def test_json_that_breaks_parsers_is_refused(folder, content):
    with pytest.raises(ModelRefused):
        loaded(folder, content)


def paths(value, path=()):
    """Yield the path of every value inside a JSON value, but only a few of a long list."""
    if path:
        yield path
    if isinstance(value, dict):
        items = value.items()
    else:
        items = enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


FIELDS = json.loads(json.dumps(card_fields()))


@settings(deadline=None, max_examples=150)
@given(path=st.sampled_from(list(paths(FIELDS))), value=JSON, drop=st.booleans())
def test_a_card_with_anything_in_the_wrong_place_is_refused_or_usable(folder, path, value, drop):
    fields = json.loads(json.dumps(FIELDS))
    inside = fields
    for key in path[:-1]:
        inside = inside[key]
    if drop:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    try:
        card, _ = loaded(folder, json.dumps(fields))
    except ModelRefused as refusal:
        assert "given.json" in str(refusal)  # noqa: PT017 - being refused is one of two outcomes
    else:
        assert card.input.period_ns > 0
        assert len(card.golden.window) == card.input.window_samples
        assert isinstance(card.identity, str)


USUAL = {
    "traits": TRAITS,
    "means": [[0.0] * 9] * 3,
    "precisions": [[[0.0] * 9] * 9] * 3,
    "max_distance": 1.0,
    "max_turn_deg": 1.0,
}


def test_what_is_usual_may_be_told_of_every_label(folder):
    assert loaded(folder, changed(usual=USUAL))[0].usual.traits == TRAITS


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"usual": {**USUAL, "traits": TRAITS[:6]}}, "usual.traits must be log_spread, .*, gyro_"),
        ({"usual": {**USUAL, "means": [[0.0] * 9] * 2}}, "usual.means must be 3 rows of 9"),
        ({"usual": {**USUAL, "means": [[0.0] * 6] * 3}}, "usual.means must be 3 rows of 9"),
        ({"usual": {**USUAL, "precisions": [[[0.0] * 9] * 8] * 3}}, "usual.precisions must be 3"),
        ({"labels": ["a", "a", "b"]}, "labels must differ"),
        ({"labels": ["a", "unknown", "b"]}, "unknown"),
        ({"labels": ["a", "", "b"]}, "empty"),
        ({"postures": ["lying"]}, "lying"),
        ({"thresholds": {"lying": 0.5}}, "lying"),
        ({"thresholds": {"walk": 1.5}}, "thresholds.walk"),
        ({"transitions": [[1, 0], [0, 1]]}, "transitions must be 3 rows of 3"),
        ({"transitions": [[1, 1, 0]] * 3}, "transitions"),
        ({"sha256": "abc"}, "sha256"),
        ({"temperature": 0}, "temperature"),
        ({"name": "a/b"}, "name"),
        ({"golden": {"window": [[0.0]], "output": [1, 0, 0]}}, "golden.window must be 128 x 6"),
        ({"golden": {**FIELDS["golden"], "output": [1]}}, "golden.output must have 3"),
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_contradiction_is_refused_by_name(folder, fields, told):
    with pytest.raises(ModelRefused, match=told):
        loaded(folder, changed(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling_rate_hz": 30.0},
        {"sampling_rate_hz": 1e-300},
        {"sampling_rate_hz": 1e6},
        {"channels": GYRO},
        {"channels": (*GYRO, *ACCEL)},
        {"channels": ACCEL[:2]},
        {"window_samples": 0},
        {"stride_samples": 0},
        {"frame": "sideways"},
        {"frame": "upright", "sampling_rate_hz": 10},
    ],
)
def test_an_input_that_can_not_be_served_is_refused(folder, fields):
    wanted = {**FIELDS["input"], **fields}
    with pytest.raises(ModelRefused, match="input"):
        loaded(folder, changed(input=wanted))


def test_the_period_is_whole_nanoseconds():
    wanted = ModelInput(
        channels=ACCEL, sampling_rate_hz=62.5, window_samples=128, stride_samples=64
    )
    assert wanted.period_ns == 16_000_000
    assert not wanted.uses_gyro
