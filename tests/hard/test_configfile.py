"""One value of a configuration changes, and nothing else of it."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.configfile import UneditableError, toml_value, with_value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '\n[model]\nname = "own"\n'),
        ("[hard]\n", '[hard]\n\n[model]\nname = "own"\n'),
        ("[hard]", '[hard]\n\n[model]\nname = "own"\n'),
        ("[model]", '[model]\nname = "own"\n'),
        ('[model]\n#name = "pocket"  # or\n', '[model]\nname = "own"\n#name = "pocket"  # or\n'),
        (
            "# a\n[model] # b\n name = 'pocket'  # c\n[hard]\nnode = \"x\"\n",
            '# a\n[model] # b\n name = "own"  # c\n[hard]\nnode = "x"\n',
        ),
        ('[x]\nname = "a"\n[model]\n[y]\n', '[x]\nname = "a"\n[model]\nname = "own"\n[y]\n'),
    ],
)
def test_the_value_is_set_where_it_belongs(before, after):
    assert with_value(before, "model", "name", "own") == after


@pytest.mark.parametrize(
    "text",
    ['model = {name = "pocket"}\n', 'model.name = "pocket"\n', '[model]\nname = """\npocket"""\n'],
)
def test_what_is_written_in_an_unusual_way_is_left_to_its_owner(text):
    with pytest.raises(UneditableError, match=r'under \[model\] write name = "own"'):
        with_value(text, "model", "name", "own")


NAMES = st.sampled_from(["model", "hard", "name", "x"])
LINES = st.one_of(
    st.just("# a remark"),
    st.just(""),
    NAMES.map("[{}]".format),
    NAMES.map('{} = "old"  # kept'.format),
    NAMES.map('"{}" = 1'.format),
)


@given(lines=st.lists(LINES, max_size=12), value=st.text(max_size=20))
def test_whatever_the_file_all_other_values_stay(lines, value):
    text = "\n".join(lines)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    try:
        after = with_value(text, "model", "name", value)
    except UneditableError:
        return
    before.setdefault("model", {})["name"] = value
    assert tomllib.loads(after) == before
    assert after.count("# a remark") == text.count("# a remark")


@given(st.recursive(st.text() | st.booleans() | st.integers(-9, 9), st.lists, max_leaves=5))
def test_a_value_is_the_same_in_toml(value):
    if json.dumps(value).count("\\ud8"):  # half a character is nothing that TOML has
        return
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value
