from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hard.api import Declared, SampleBatch, UnusableInput
from hard.card import ModelInput
from hard_training.datasets import Recording, Segment
from hard_training.windows import LabelledWindows, labelled_windows, on_grid

PERIOD_NS = 20_000_000
INPUT = ModelInput(
    channels=("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"),
    sampling_rate_hz=50,
    window_samples=128,
    stride_samples=64,
)


def recording(n, *segments, accel_unit="g"):
    rng = np.random.default_rng(0)
    t = np.arange(n, dtype=np.int64) * PERIOD_NS
    accel = (rng.normal(0, 0.05, (n, 3)) - np.array([0, 1, 0])).astype(np.float32)
    gyro = rng.normal(0, 0.1, (n, 3)).astype(np.float32)
    message = (
        SampleBatch("x", "accel", t, accel, Declared(accel_unit, sign=-1)),
        SampleBatch("x", "gyro", t, gyro, Declared("rad/s")),
    )
    parts = tuple(Segment(a * PERIOD_NS, b * PERIOD_NS, label) for a, b, label in segments)
    return Recording("x", 7, (message,), parts), accel, gyro


def test_windows_hold_the_samples_in_the_models_units_and_frame():
    whole, accel_g, gyro = recording(640, (0, 640, "walking"))
    windows = labelled_windows([whole], ["walking"], INPUT)
    assert len(windows) == 9
    for i, values in enumerate(windows.values):
        part = slice(64 * i, 64 * i + 128)
        assert values[:, :3] == pytest.approx(-accel_g[part] * 9.80665, rel=1e-6)
        assert (values[:, 3:] == gyro[part]).all()
    assert set(windows.person.tolist()) == {7}


def test_a_window_carries_the_label_at_its_centre():
    mixed, _, _ = recording(640, (0, 200, "sitting"), (200, 330, "sit_to_stand"), (330, 640, "up"))
    windows = labelled_windows([mixed], ["sitting", "up"], INPUT)
    # Centres lie at 64, 128, ..., 576; those at 256 and 320 carry a transition.
    assert windows.label.tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_no_window_straddles_two_recordings():
    one, _, _ = recording(200, (0, 200, "walking"))
    two, _, _ = recording(200, (0, 200, "walking"))
    windows = labelled_windows([one, two], ["walking"], INPUT)
    assert windows.recording.tolist() == [0, 0, 1, 1]


def test_a_recording_that_the_edge_would_reject_is_an_error():
    wrong, _, _ = recording(640, (0, 640, "walking"), accel_unit="m/s2")
    with pytest.raises(UnusableInput, match="likely in g"):
        labelled_windows([wrong], ["walking"], INPUT)


UPRIGHT = INPUT.model_copy(update={"frame": "upright"})


def worn(gravity, order, *, steps_m_s2, seconds=20, person=7):
    """A recording of steps (or none) along `gravity`, m/s²."""
    t = np.arange(seconds * 50, dtype=np.int64) * PERIOD_NS
    phase = 2 * np.pi * 1.8 * t / 1e9
    wave = steps_m_s2 * (np.sin(phase) + 0.3 * np.sin(phase / 2))
    up = np.array(gravity, float) / np.linalg.norm(gravity)
    accel = np.outer(9.81 + wave, up).astype(np.float32)
    gyro = np.outer(wave, np.roll(up, 1)).astype(np.float32)
    message = (
        SampleBatch("x", "accel", t, accel, Declared("m/s2")),
        SampleBatch("x", "gyro", t, gyro, Declared("rad/s")),
    )
    label = "walking" if steps_m_s2 else "sitting"
    whole = Segment(0, seconds * 50 * PERIOD_NS, label)
    return Recording(f"{label}{order}", person, (message,), (whole,), order)


def test_in_the_upright_frame_a_recording_is_seen_by_the_gait_of_those_before_it():
    walk, sit = worn((0, -1, 0), 1, steps_m_s2=4), worn((0, 0, 1), 2, steps_m_s2=0)
    # Sitting comes second in time, though first in the list.
    windows = labelled_windows([sit, walk], ["sitting", "walking"], UPRIGHT)
    assert windows.recording.tolist() == sorted(windows.recording.tolist())
    gravity = windows.values[:, :, :3].mean(axis=1)
    assert gravity[windows.label == 1][:, 2] == pytest.approx(9.81, abs=0.5)
    sitting = gravity[windows.label == 0]
    assert np.abs(sitting[:, 2]).max() < 0.5
    assert np.linalg.norm(sitting, axis=1) == pytest.approx(9.81, abs=0.01)


def test_what_comes_before_the_first_gait_is_seen_by_it_and_other_people_are_not():
    sit, walk = worn((0, 0, 1), 1, steps_m_s2=0), worn((0, -1, 0), 2, steps_m_s2=4)
    other = worn((0, 0, 1), 1, steps_m_s2=0, person=8)
    windows = labelled_windows([sit, walk, other], ["sitting"], UPRIGHT)
    vertical = windows.values[:, :, 2].mean(axis=1)
    assert np.abs(vertical[windows.person == 7]).max() < 0.5
    # Nobody knows how person 8 walks: a window's own gravity stands in.
    assert vertical[windows.person == 8] == pytest.approx(9.81, abs=0.01)


def test_in_the_devices_frame_nothing_is_turned():
    walk = worn((0, -1, 0), 1, steps_m_s2=4)
    plain = labelled_windows([walk], ["walking"], INPUT)
    assert plain.values[:, :, 1].mean() == pytest.approx(-9.81, abs=0.1)


def test_no_recordings_are_no_windows():
    assert labelled_windows([], ["walking"], UPRIGHT).values.shape == (0, 128, 6)
    assert labelled_windows([], ["walking"], INPUT).values.shape == (0, 128, 6)


def test_each_window_says_when_it_begins():
    whole, _, _ = recording(640, (100, 640, "walking"))
    windows = labelled_windows([whole], ["walking"], INPUT)
    assert windows.t_start.tolist() == [64 * PERIOD_NS * i for i in range(1, 9)]
    late = windows.part(windows.t_start > 300 * PERIOD_NS)
    assert late.t_start.tolist() == windows.t_start[4:].tolist()
    assert len(late.values) == len(late.label) == 4


def test_windows_made_up_without_a_time_have_none():
    label = np.zeros(3, np.int64)
    made_up = LabelledWindows(np.zeros((3, 128, 6), np.float32), label, label, label)
    assert made_up.t_start.tolist() == [0, 0, 0]


def test_still_takes_in_every_posture_that_is_not_asked_for_itself():
    parts = (0, 200, "sitting"), (200, 400, "laying"), (400, 640, "walking")
    mixed, _, _ = recording(640, *parts)
    merged = labelled_windows([mixed], ["walking", "still"], INPUT)
    assert merged.label.tolist() == [1, 1, 1, 1, 1, 1, 0, 0, 0]
    apart = labelled_windows([mixed], ["still", "laying"], INPUT)
    assert apart.label.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_accelerometer_alone_is_the_first_three_channels():
    whole, _, _ = recording(640, (0, 640, "walking"))
    accel = INPUT.model_copy(update={"channels": INPUT.channels[:3]})
    six, three = (labelled_windows([whole], ["walking"], wanted) for wanted in (INPUT, accel))
    assert (six.values[:, :, :3] == three.values).all()
    assert three.values.dtype == six.values.dtype == np.float32


@pytest.mark.parametrize("wanted", [INPUT, UPRIGHT])
def test_a_recording_on_the_grid_gives_the_windows_of_the_recording(wanted):
    sit, walk = worn((0, 0, 1), 1, steps_m_s2=0), worn((0, -1, 0), 2, steps_m_s2=4)
    gridded = [on_grid(one, wanted, Counter()) for one in (sit, walk)]
    direct = labelled_windows([sit, walk], ["sitting", "walking"], wanted)
    again = labelled_windows(gridded, ["sitting", "walking"], wanted)
    for name in ("values", "label", "person", "recording", "t_start"):
        assert np.array_equal(getattr(direct, name), getattr(again, name)), name


def test_what_the_edge_rejects_is_counted_where_that_is_asked_for():
    wrong, _, _ = recording(640, (0, 640, "walking"), accel_unit="m/s2")
    right, _, _ = recording(640, (0, 640, "walking"))
    counts = Counter()
    windows = labelled_windows([wrong, right], ["walking"], INPUT, counts)
    assert set(windows.recording.tolist()) == {1}
    assert counts["rejected"] > 0


def test_two_devices_on_one_person_each_have_their_own_up():
    one = replace(worn((0, -1, 0), 1, steps_m_s2=4), device="phone-1")
    other = replace(worn((1, 0, 0), 2, steps_m_s2=4, seconds=9), device="phone-2")
    windows = labelled_windows([one, other], ["walking"], UPRIGHT)
    vertical = windows.values[:, :, 2].mean(axis=1)
    assert vertical == pytest.approx(9.81, abs=0.5)
