"""What every framing keeps: the same readings however the bytes are cut, and through damage."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard_formats.framing import FRAMINGS
from tests.imus import FORMATS, G, numbered

every_format = pytest.mark.parametrize("fmt", FORMATS)
SETTINGS = settings(max_examples=60, deadline=None)
PER_G = {"text": G, "vectornav": G}


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def fed(fmt, parts):
    """Return index and acceleration along x (g), and the counts, of all parts."""
    framing = FRAMINGS[fmt]()
    readings = [framing.feed(part) for part in parts]
    x = np.concatenate([r.accel[:, 0] for r in readings]) / PER_G.get(fmt, 1.0)
    return np.concatenate([r.index for r in readings]), x, framing.counts


def found(fmt, frames, x):
    """Return which of the numbered readings `x` are among those in the bytes."""
    _, got, _ = fed(fmt, [b"".join(frames)])
    return {int(np.abs(x - value).argmin()) for value in got if np.abs(x - value).min() < 1e-3}


def test_each_format_has_its_framing():
    assert tuple(FRAMINGS) == FORMATS


@every_format
def test_what_is_declared_is_a_unit_of_the_sensor(fmt):
    declared = FRAMINGS[fmt]().declared
    assert "accel" in declared
    units = {"accel": {"m/s2", "g"}, "gyro": {"rad/s", "deg/s"}}
    assert all(d.unit in units[sensor] for sensor, d in declared.items())


@every_format
def test_all_readings_are_found_in_order(fmt):
    frames, x = numbered(fmt, 300)
    index, got, counts = fed(fmt, [b"\n", *frames, b"\x55\x61"])
    assert index.tolist() == list(range(300))
    assert np.abs(got - x).max() < 3e-4  # half a count of the coarsest
    assert not counts


@every_format
@given(data=st.data())
@SETTINGS
def test_any_cut_of_the_bytes_gives_the_same_readings(fmt, data):
    frames, _ = numbered(fmt, 30)
    noise = data.draw(st.lists(st.tuples(st.integers(0, 29), st.binary(max_size=30)), max_size=4))
    for i, junk in noise:
        frames[i] += junk
    stream = b"".join(frames)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=40))
    whole, parts = fed(fmt, [stream]), fed(fmt, cut(stream, places))
    assert whole[0].tolist() == parts[0].tolist()
    assert whole[1].tolist() == parts[1].tolist()
    assert whole[2] == parts[2]


damage = st.tuples(
    st.integers(5, 34),  # the frame; text has agreed on its layout by then
    st.floats(0, 1),  # where in it
    st.integers(0, 12),  # how many bytes are lost
    st.binary(max_size=12),  # what comes instead
)


@every_format
@given(damages=st.lists(damage, min_size=1, max_size=3))
@SETTINGS
def test_every_valid_reading_more_than_two_after_damage_is_found(fmt, damages):
    frames, x = numbered(fmt, 40)
    hurt = {0}  # where listening begins a line may be half a one
    for i, where, n, junk in damages:
        at = int(where * len(frames[i]))
        frames[i] = frames[i][:at] + junk + frames[i][at + n :]
        hurt.add(i)
    due = {k for k in range(40) if not hurt & set(range(k - 2, k + 1))}
    if fmt == "wt901ble":  # its last frame is confirmed by the next one only
        due -= {39} if hurt & {37, 38} else set()
    assert due <= found(fmt, frames, x)


@every_format
@given(junk=st.lists(st.binary(max_size=300), max_size=20))
@SETTINGS
def test_random_bytes_raise_nothing_and_give_finite_readings(fmt, junk):
    framing = FRAMINGS[fmt]()
    for part in junk:
        readings = framing.feed(part)
        for values in (readings.accel, readings.gyro):
            assert values is None or (values.shape == (len(readings), 3))
            assert values is None or np.isfinite(values).all()


@every_format
@pytest.mark.parametrize("byte", [None, b"\x55", b"\xaa", b"7", b"$", b"{", b"a:", b"["])
def test_a_megabyte_of_noise_does_not_stay_in_memory(fmt, byte):
    rng = np.random.default_rng(5)
    framing = FRAMINGS[fmt]()
    framing.feed(bytes(5000))
    tracemalloc.start()
    for _ in range(64):
        framing.feed(rng.bytes(16384) if byte is None else byte * (16384 // len(byte)))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


@every_format
def test_after_noise_the_readings_go_on(fmt):
    rng = np.random.default_rng(6)
    frames, x = numbered(fmt, 60)
    stream = [*frames[:20], rng.bytes(10_000), *frames[20:]]
    assert set(range(1, 20)) | set(range(23, 60)) <= found(fmt, stream, x)
    assert fed(fmt, stream)[2].total() > 0
