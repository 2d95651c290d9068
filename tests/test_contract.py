"""What a recording is declared to be, against what it is: told for real people and motions."""

import csv
import io
import zipfile
from collections import Counter

import numpy as np
import pytest

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, Declared, SampleBatch
from hard.card import ModelCard
from hard.conditioning import Conditioner, GridBlock, Verdict
from hard_file.recognition import open_recording

PEOPLE = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11)
TRIALS = ("wlk_7", "jog_9", "sit_5", "std_6", "ups_3", "dws_1")
T0_NS = 1_700_000_000 * NS_PER_S
G = np.float32(STANDARD_GRAVITY_M_S2)

pytestmark = pytest.mark.recordings


@pytest.fixture(scope="module")
def people(recordings):
    """Return {(person, trial): total, linear acceleration (m/s², our frame) and turning}."""
    found = {}
    with zipfile.ZipFile(recordings / "motionsense.zip") as archive:
        for i, person in enumerate(PEOPLE):
            for trial in (TRIALS[i % 2], TRIALS[2 + i % 4]):  # moving, and any
                name = f"A_DeviceMotion_data/{trial}/sub_{person}.csv"
                rows = list(csv.DictReader(io.TextIOWrapper(archive.open(name), "utf-8")))
                columns = [
                    np.array([[float(row[f"{what}.{axis}"]) for axis in "xyz"] for row in rows])
                    for what in ("gravity", "userAcceleration", "rotationRate")
                ]
                gravity, linear, turning = (column.astype(np.float32) for column in columns)
                found[person, trial] = (-(gravity + linear) * G, -linear * G, turning)
    assert len(found) == 20
    return found


def verdicts(
    accel, gyro, *, rate_hz=50.0, stated_hz=None, counted=False, accel_unit="m/s2", sign=1
):
    told = {"rate_hz": stated_hz, "counted": counted}
    t = T0_NS + np.rint(np.arange(len(accel)) * (NS_PER_S / rate_hz)).astype(np.int64)
    conditioner = Conditioner(ModelCard.load("pocket")[0].input, Counter())
    message = [
        SampleBatch("s", "accel", t, accel, Declared(accel_unit, sign, **told)),
        SampleBatch("s", "gyro", t, gyro, Declared("rad/s", **told)),
    ]
    items = [*conditioner.feed(message), *conditioner.flush()]
    return [item for item in items if isinstance(item, Verdict)]


def test_the_right_ones_raise_no_alarm(people):
    for who, (total, _, turning) in people.items():
        assert [v.status for v in verdicts(total, turning)] == ["ok"], who


def counted_at(stated_hz, total, turning):
    return verdicts(total, turning, rate_hz=stated_hz, stated_hz=stated_hz, counted=True)


def test_the_right_rate_raises_no_alarm_where_only_strides_can_tell(people):
    for who, (total, _, turning) in people.items():
        assert [v.status for v in counted_at(50.0, total, turning)] == ["ok"], who


def doubled(x):
    """Return samples at 100 Hz for samples at 50."""
    at = np.arange(2 * len(x) - 1) / 2
    return np.stack([np.interp(at, np.arange(len(x)), c) for c in x.T], axis=1).astype(np.float32)


def test_100_hz_called_50_is_told_of_all_who_move_where_there_are_no_stamps(people):
    found = {
        who: [v.reason for v in counted_at(50.0, doubled(total), doubled(turning))]
        for who, (total, _, turning) in people.items()
    }
    gait = [who for who in found if who[1].startswith(("wlk", "jog", "ups", "dws"))]
    assert {who[1] for who in gait} == {"wlk_7", "jog_9", "ups_3", "dws_1"}
    for who in gait:
        reason = found[who][-1] or ""
        assert reason.startswith("wrong rate: at the stated 50 Hz "), who
        assert "likely 100 Hz" in reason, who
    # Who sits or stands neither strides nor turns: nobody can tell.
    still = [reasons for who, reasons in found.items() if who[1].startswith(("sit", "std"))]
    assert still
    assert still == [[None]] * len(still)


def test_100_hz_called_50_is_told_of_who_walks_or_runs_without_gyroscope_too(people):
    wanted = ModelCard.load("pocket-accel")[0].input
    for who, (total, _, _) in people.items():
        x = doubled(total)
        t = T0_NS + np.arange(len(x), dtype=np.int64) * (NS_PER_S // 50)
        told = Declared("m/s2", rate_hz=50.0, counted=True)
        conditioner = Conditioner(wanted, Counter())
        items = [*conditioner.feed([SampleBatch("s", "accel", t, x, told)]), *conditioner.flush()]
        reasons = [item.reason for item in items if isinstance(item, Verdict)]
        if who[1].startswith(("wlk", "jog")):
            assert "a stride takes" in (reasons[-1] or ""), who
            assert "likely 100 Hz" in reasons[-1], who
        elif who[1].startswith(("sit", "std")):
            assert reasons == [None], who


def test_50_hz_called_100_is_told_by_walking_where_there_are_no_stamps(people):
    found = {
        who: [v.status for v in counted_at(100.0, total, turning)]
        for who, (total, _, turning) in people.items()
        if who[1].startswith("wlk")
    }
    assert {tuple(statuses) for statuses in found.values()} == {("ok", "rejected")}


WRONG = {
    "g called m/s2": lambda total, linear, turning: ((total / G, turning), {}),
    "m/s2 called g": lambda total, linear, turning: ((total, turning), {"accel_unit": "g"}),
    "gravity removed": lambda total, linear, turning: ((linear, turning), {}),
    "deg/s called rad/s": lambda total, linear, turning: ((total, np.degrees(turning)), {}),
    "100 Hz called 50": lambda total, linear, turning: (
        (total, turning),
        {"rate_hz": 100.0, "stated_hz": 50.0},
    ),
    "sign unknown": lambda total, linear, turning: ((total, turning), {"sign": None}),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_declaration_is_told(people, how):
    missed = {}
    for who, signals in people.items():
        arguments, options = WRONG[how](*signals)
        found = [v.status for v in verdicts(*arguments, **options)]
        if "rejected" not in found:
            missed[who] = found
    assert not missed


def test_phones_whose_stamps_jitter_and_repeat_lose_no_second(recordings, tmp_path):
    wanted, counts = ModelCard.load("pocket")[0].input, Counter()
    lost_s, file = {}, tmp_path / "phone.csv"
    with zipfile.ZipFile(recordings / "sp-sw-har.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith("_sp.csv")]
        for name in names:
            file.write_bytes(archive.read(name))
            conditioner = Conditioner(wanted, counts)
            messages = [
                [part for part in message if isinstance(part, SampleBatch)]
                for message in open_recording(file).messages()
            ]
            items = [item for message in messages for item in conditioner.feed(message)]
            items += conditioner.flush()
            assert [v.status for v in items if isinstance(v, Verdict)] == ["ok"], name
            stamps = np.concatenate([batch.t for message in messages for batch in message])
            usable = sum(int(b.valid.sum()) for b in items if isinstance(b, GridBlock))
            lost_s[name] = (np.ptp(stamps) - usable * wanted.period_ns) / NS_PER_S
    assert len(names) == 223
    assert max(lost_s.values()) < 1
    assert sum(lost_s.values()) < 0.002 * 2527
    assert set(+counts) <= {"duplicate"}
