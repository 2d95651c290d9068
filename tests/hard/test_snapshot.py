"""State to JSON and back: equal, with what was shared still shared, and nothing foreign let in."""

import json
from collections import Counter, defaultdict, deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hard.api import Declared
from hard.scoring import Segment
from hard.snapshot import restored, saved
from hard.windowing import Windower
from tests.hard.signals import INPUT

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.builds(Counter, st.dictionaries(st.text(), st.integers(), max_size=3))
    | st.sets(st.integers(), max_size=3)
    | st.frozensets(st.text(), max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text() | st.integers(), inner, max_size=4),
        st.builds(deque, st.lists(inner, max_size=4), st.none() | st.integers(4, 9)),
    ),
    max_leaves=12,
)


def through_json(value, **wiring):
    return restored(json.loads(json.dumps(saved(value, wiring), allow_nan=False)), wiring)


@given(PLAIN)
def test_numbers_text_and_containers_come_back_as_they_were(value):
    found = through_json(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_arrays_come_back_to_the_last_bit_and_can_be_written(dtype):
    value = np.arange(12).reshape(3, 4).astype(dtype)[:, ::2]
    found = through_json(value)
    assert (found.dtype, found.tobytes()) == (value.dtype, value.tobytes())
    found[0] = 1
    assert through_json(np.float64(np.pi)) == np.pi
    assert isinstance(through_json(np.float32(1)), np.float32)


def test_what_is_endless_or_no_number_survives():
    assert through_json([float("inf"), -float("inf")]) == [float("inf"), -float("inf")]
    assert np.isnan(through_json(float("nan")))


def test_a_bounded_deque_and_a_default_stay_what_they_are():
    found = through_json([deque([1, 2], maxlen=2), defaultdict(list, a=[1])])
    found[0].append(3)
    found[1]["b"].append(4)
    assert found == [deque([2, 3]), {"a": [1], "b": [4]}]


def test_what_was_shared_is_shared_and_a_cycle_closes():
    inner = [1]
    value = {"a": inner, "b": inner}
    value["self"] = value
    found = through_json(value)
    found["a"].append(2)
    assert found["b"] == [1, 2]
    assert found["self"] is found


def test_objects_named_tuples_and_bound_methods_of_hard_come_back():
    windower = Windower(INPUT)
    found, feed, segment, declared = through_json(
        [windower, windower.feed, Segment(1, 2, "walking"), Declared("m/s2", 1, 3.0)], input=INPUT
    )
    assert isinstance(found, Windower)
    assert feed.__self__ is found
    assert segment == Segment(1, 2, "walking")
    assert declared == Declared("m/s2", 1, 3.0)


def test_what_an_object_is_connected_to_is_kept_by_name():
    def callback():
        pass

    state = saved([callback], {"callback": callback})
    assert restored(state, {"callback": print}) == [print]


@pytest.mark.parametrize("value", [lambda: 1, iter([]), json.JSONDecoder()])
def test_what_is_none_of_hards_is_not_saved(value):
    with pytest.raises(TypeError, match="can't be saved"):
        saved([value], {})


@pytest.mark.parametrize(
    "state",
    [
        {"no": 0, "object": "subprocess.Popen", "has": {}},
        {"no": 0, "object": "hard.api.json.JSONDecoder", "has": {}},
        {"no": 0, "object": "hard.api.NS_PER_S", "has": {}},
        {"no": 0, "object": 5, "has": {}},
        {"no": 0, "array": "!", "dtype": "<f8", "shape": [1], "scalar": False},
        {"tuple": [1], "of": "os.system"},
        {"same": 3},
        {"wired": "model"},
        {},
    ],
)
def test_a_state_that_nothing_here_saved_is_a_value_error(state):
    with pytest.raises(ValueError, match=r"."):
        restored(state, {})
