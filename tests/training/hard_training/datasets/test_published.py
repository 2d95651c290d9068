"""Each data set's layout as published, made up small: read from its archive, defects counted."""

import io
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest

from hard.api import Annotation, Declared, SampleBatch
from hard.recording import Limits, Recorder
from hard_training.datasets import DATA_SETS, DataMissing, DataUnusable, recorded_in


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(name, folder, archive, data, placement=None):
    """Put an archive into a folder; return its recordings and what was counted."""
    (folder / archive).write_bytes(data)
    data_set = DATA_SETS[name] if placement is None else DATA_SETS[name].at(placement)
    defects = Counter()
    return list(data_set.recordings(folder, defects)), +defects


def batches(recording, sensor):
    return [b for m in recording.messages for b in m if b.sensor == sensor]


def values(recording, sensor="accel"):
    return np.concatenate([b.values for b in batches(recording, sensor)])


def stamps(recording, sensor="accel"):
    return np.concatenate([b.t for b in batches(recording, sensor)])


# --- UCI HAR ------------------------------------------------------------------------------------

SIGNALS = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz"]


def uci_part(part, people, codes):
    """Windows of 128 samples; each one's second half is the next one's first, per person."""
    folder = f"UCI HAR Dataset/{part}"
    rng = np.random.default_rng(1)
    members = {
        f"{folder}/subject_{part}.txt": "\n".join(map(str, people)) + "\n",
        f"{folder}/y_{part}.txt": "\n".join(map(str, codes)) + "\n",
    }
    for signal in SIGNALS:
        half, lines = rng.normal(0, 0.1, 64).round(4), []
        for _ in people:
            following = rng.normal(0, 0.1, 64).round(4)
            lines.append(" ".join(f"{v: .7e}" for v in [*half, *following]))
            half = following
        members[f"{folder}/Inertial Signals/{signal}_{part}.txt"] = "\n".join(lines) + "\n"
    return members


def uci_har():
    inner = uci_part("train", [1, 1, 1, 3], [5, 5, 4, 1]) | uci_part("test", [2, 2], [6, 6])
    inner["UCI HAR Dataset/activity_labels.txt"] = "1 WALKING\n"
    inner["__MACOSX/UCI HAR Dataset/train/._subject_train.txt"] = "\0"
    return inner


def test_uci_har_is_read_from_the_archive_in_the_archive(tmp_path):
    name = "human+activity+recognition+using+smartphones.zip"
    outer = zipped({"UCI HAR Dataset.zip": zipped(uci_har()), "UCI HAR Dataset.names": "x"})
    found, defects = read("uci-har", tmp_path, name, outer)
    assert {r.name: r.person for r in found} == {"train-1": 1, "train-3": 3, "test-2": 2}
    assert not defects
    first = next(r for r in found if r.person == 1)
    assert len(values(first)) == len(values(first, "gyro")) == 4 * 64
    assert [s.label for s in first.segments] == ["standing", "sitting"]
    assert batches(first, "accel")[0].declared.unit == "g"
    test = [r.person for r in found if DATA_SETS["uci-har"].split.part(r.person) == "test"]
    assert test == [2]


def test_uci_har_without_one_of_its_files_is_refused_by_name(tmp_path):
    inner = uci_har()
    del inner["UCI HAR Dataset/test/y_test.txt"]
    with pytest.raises(DataUnusable, match=r"y_test\.txt is missing"):
        read("uci-har", tmp_path, "UCI HAR Dataset.zip", zipped(inner))


# --- WISDM --------------------------------------------------------------------------------------

T0 = 49_105_962_326_000


def line(user, label, k, xyz="0.5,9.5,0.25"):
    return f"{user},{label},{T0 + k * 50_000_000},{xyz};"


def tar_gz(name, text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_wisdm_v1_1_counts_every_known_defect_and_keeps_the_rest(tmp_path):
    lines = [line(33, "Jogging", k) for k in range(5)]
    lines += [line(33, "Walking", k) for k in range(5, 8)]
    lines += [line(33, "Walking", 8, "0.5,9.5,"), "33,Walking,0,0,0,3.2;"]
    lines += [line(33, "Walking", 9, "0,0,0"), line(33, "Walking", 2000)]  # a jump of 100 s
    lines += [line(33, "Walking", 3)]  # and back again
    lines += [line(17, "Upstairs", 4), line(17, "Juggling", 5)]
    archive = tar_gz("WISDM_ar_v1.1/WISDM_ar_v1.1_raw.txt", "\n".join(lines) + "\n")
    found, defects = read("wisdm-v1.1", tmp_path, "WISDM_ar_latest.tar.gz", archive)
    assert [(r.person, r.segments[0].label) for r in found] == [
        (33, "running"),
        (33, "walking"),
        (17, "upstairs"),
    ]
    assert [len(values(r)) for r in found] == [5, 5, 1]
    assert defects == {
        "not_a_number": 1,
        "no_time": 1,
        "zero_reading": 1,
        "time_jump": 2,
        "unknown_label": 1,
    }


def of_2019(device, user, accel, gyro):
    folder = f"wisdm-dataset/raw/{device}"
    return {
        f"{folder}/accel/data_{user}_accel_{device}.txt": "\n".join(accel) + "\n",
        f"{folder}/gyro/data_{user}_gyro_{device}.txt": "\n".join(gyro) + "\n",
    }


def test_wisdm_2019_is_read_from_the_zip_in_the_zip_at_the_placement_asked_for(tmp_path):
    accel = [line(1600, "A", k) for k in range(3)] + [line(1600, "C", k) for k in range(90, 94)]
    gyro = [line(1600, "A", k, "1,2,3") for k in range(3)]
    inner = of_2019("phone", 1600, accel, gyro) | of_2019("watch", 1600, accel[:2], gyro)
    inner["wisdm-dataset/activity_key.txt"] = "walking = A\n"
    outer = zipped({"wisdm-dataset.zip": zipped(inner)})
    name = "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"
    found, defects = read("wisdm-2019", tmp_path, name, outer)
    assert [(r.person, r.segments[0].label, len(values(r))) for r in found] == [
        (1600, "walking", 3),
        (1600, "stairs", 4),
    ]
    assert len(values(found[0], "gyro")) == 3
    assert not batches(found[1], "gyro")
    assert not defects
    watch, _ = read("wisdm-2019", tmp_path, name, outer, "wrist")
    assert [len(values(r)) for r in watch] == [2]


# --- PAMAP2, HHAR, RealWorld, SP-SW-HAR -----------------------------------------------------------


def pamap_line(k, activity, chest="2.0"):
    imus = [f"30 {x} 9.8 0 9 9 9 0.1 0 {x} 1 2 3 1 0 0 0" for x in ("1.0", chest, "3.0")]
    return f"{k / 100:.2f} {activity} NaN " + " ".join(imus)


def pamap2():
    rows = [pamap_line(k, 4) for k in range(5)] + [pamap_line(5, 0), pamap_line(6, 12, "NaN")]
    rows += [pamap_line(k, 12) for k in range(7, 10)]
    protocol = "PAMAP2_Dataset/Protocol/subject101.dat"
    optional = "PAMAP2_Dataset/Optional/subject101.dat"
    inner = {protocol: "\n".join(rows) + "\n", optional: pamap_line(0, 20) + "\n"}
    return zipped({"PAMAP2_Dataset.zip": zipped(inner), "readme.pdf": b"%PDF"})


@pytest.mark.parametrize(("placement", "x"), [("chest", 2), ("wrist", 1), ("ankle", 3)])
def test_pamap2_gives_the_position_asked_for(tmp_path, placement, x):
    name = "pamap2+physical+activity+monitoring.zip"
    found, defects = read("pamap2", tmp_path, name, pamap2(), placement)
    assert [(r.name, r.person, r.order) for r in found] == [
        ("Optional/101", 101, 1),
        ("Protocol/101", 101, 0),
    ]
    protocol = found[1]
    assert values(protocol)[0] == pytest.approx([x, 9.8, 0])
    assert [s.label for s in protocol.segments] == ["walking", "upstairs"]
    assert protocol.segments[0].t_end_ns == 50_000_000
    assert len(values(protocol)) == (9 if placement == "chest" else 10)
    assert defects == {"not_finite": 1}


HHAR_HEADER = "Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt"


def hhar_row(k, user, device, label, xyz="-5.9,0.6,8.1"):
    return f"{k},1424696633908,{10**18 + k * 5_000_000},{xyz},{user},nexus4,{device},{label}"


def test_hhar_gives_each_persons_device_activity_by_activity(tmp_path):
    accel = [hhar_row(k, "a", "nexus4_1", "stand") for k in range(4)]
    accel += [hhar_row(k, "a", "nexus4_1", "null") for k in range(4, 6)]
    accel += [hhar_row(k, "a", "nexus4_1", "stairsup") for k in (6, 7, 9000, 8)]
    accel += [hhar_row(k, "b", "s3_2", "bike") for k in range(3)]
    gyro = [hhar_row(k, "a", "nexus4_1", "stand", "1,2,3") for k in range(9)]
    folder = "Activity recognition exp"
    inner = {
        f"{folder}/Phones_accelerometer.csv": "\n".join([HHAR_HEADER, *accel]) + "\n",
        f"{folder}/Phones_gyroscope.csv": "\n".join([HHAR_HEADER, *gyro]) + "\n",
    }
    outer = zipped({f"{folder}.zip": zipped(inner), "Still exp.zip": zipped({"a": "b"})})
    found, defects = read("hhar", tmp_path, "heterogeneity+activity+recognition.zip", outer)
    assert [(r.person, r.device, r.segments[0].label) for r in found] == [
        (1, "nexus4_1", "standing"),
        (1, "nexus4_1", "upstairs"),
        (2, "s3_2", "cycling"),
    ]
    assert [len(stamps(r)) for r in found] == [4, 4, 3]
    assert len(stamps(found[0], "gyro")) == 4
    assert defects == {"time_jump": 2}


def realworld_csv(n, x):
    rows = [f"{i},{1_435_993_190_541 + 20 * i},{x},9.8,0.5" for i in range(n)]
    return "\n".join(["id,attr_time,attr_x,attr_y,attr_z", *rows]) + "\n"


def realworld():
    """One activity in one part, one zipped once more by its parts, one numbered in its names."""
    walking = zipped(
        {"acc_walking_waist.csv": realworld_csv(5, 1), "acc_walking_shin.csv": realworld_csv(4, 2)}
    )
    turning = zipped({"Gyroscope_walking_waist.csv": realworld_csv(5, 0.1), "readMe": "x"})
    climbing = {
        f"acc_climbingup_{part}_csv.zip": zipped({f"acc_climbingup{end}_waist.csv": text})
        for part, end, text in (
            (1, "", realworld_csv(6, 1)),
            (2, "_2", realworld_csv(7, 1)),
        )
    }
    climbing_gyro = {
        f"gyr_climbingup{end}_csv.zip": zipped(
            {f"Gyroscope_climbingup{end}_waist.csv": realworld_csv(6, part)}
        )
        for part, end in ((1, ""), (2, "_2"))
    }
    folder = "proband4/data"
    return {
        f"{folder}/acc_walking_csv.zip": walking,
        f"{folder}/gyr_walking_csv.zip": turning,
        f"{folder}/acc_climbingup_csv.zip": zipped(climbing),
        f"{folder}/gyr_climbingup_csv.zip": zipped(climbing_gyro),
        f"{folder}/acc_sitting_csv.zip": zipped({"acc_sitting_2_waist.csv": realworld_csv(3, 1)}),
        "proband4/images/a.jpg": b"x",
    }


def test_realworld_pairs_the_parts_of_both_sensors(tmp_path):
    name = "realworld2016_dataset.zip"
    found, defects = read("realworld", tmp_path, name, zipped(realworld()))
    assert [(r.name, len(stamps(r))) for r in found] == [
        ("4-upstairs-1", 6),
        ("4-upstairs-2", 7),
        ("4-sitting-2", 3),
        ("4-walking-1", 5),
    ]
    assert values(found[0], "gyro")[0, 0] == 1
    assert values(found[1], "gyro")[0, 0] == 2
    assert {r.person for r in found} == {4}
    assert [r.segments[0].label for r in found] == ["upstairs", "upstairs", "sitting", "walking"]
    assert defects == {"no_gyroscope": 1}


def test_realworld_counts_what_a_position_lacks(tmp_path):
    name = "realworld2016_dataset.zip"
    found, defects = read("realworld", tmp_path, name, zipped(realworld()), "shin")
    assert [len(stamps(r)) for r in found] == [4]
    assert defects == {"no_accelerometer": 2, "no_gyroscope": 1}


def test_the_watch_of_sp_sw_har_is_another_placement(tmp_path):
    header = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"
    rows = [f"0.1,9.8,0.2,0,0,0,{1_657_533_977_813 + 10 * k},WALKING" for k in range(9)]
    members = {
        "repository-1/DATA/s03/s03_02_sp.csv": "\n".join([header, *rows]),
        "repository-1/DATA/s03/s03_02_sw.csv": "\n".join([header, *rows[:4]]),
        "repository-1/DATA/executions_info.csv": "x\n",
    }
    inner = zipped({"GeoTecINIT-sp-sw-har-dataset-v1.zip": zipped(members)})
    (phone,), _ = read("sp-sw-har", tmp_path, "sp-sw-har.zip", inner)
    (watch,), _ = read("sp-sw-har", tmp_path, "sp-sw-har.zip", inner, "wrist")
    assert [len(stamps(r)) for r in (phone, watch)] == [9, 4]
    assert phone.person == watch.person == 3


# --- our own --------------------------------------------------------------------------------------


@pytest.fixture
def recorded_walk(tmp_path):
    """A folder with a session that `hard record`'s recorder wrote: walking, then a strange word."""
    recorder = Recorder(tmp_path / "sessions", Limits())
    recorder.start()
    accel = np.tile(np.array([[0.1, 9.8, 0.2]], np.float32), (100, 1))
    for second in range(4):
        t = 10**18 + (np.arange(100, dtype=np.int64) + 100 * second) * 10_000_000
        message = [SampleBatch("phone-1", "accel", t, accel, Declared("m/s2"))]
        if second in {1, 3}:
            text = "Walk" if second == 1 else "moonwalking"
            message.append(Annotation("phone-1", int(t[0]), text))
        recorder.take(message)
    assert recorder.close(10)
    return tmp_path / "sessions"


def test_what_hard_recorded_is_a_data_set_with_the_wearers_words_as_labels(recorded_walk):
    defects = Counter()
    (recording,) = recorded_in(recorded_walk).recordings(recorded_walk, defects)
    assert recording.person == 1
    assert len(stamps(recording)) == 400
    (walk,) = recording.segments
    assert (walk.label, walk.t_end_ns - walk.t_start_ns) == ("walking", 2_000_000_000)
    assert +defects == {"unknown_label": 1}


def test_labels_beside_a_recording_of_ours_take_the_place_of_those_in_it(recorded_walk):
    (metadata,) = recorded_walk.rglob("phone-1.json")
    metadata.with_name("phone-1.labels.csv").write_text(
        f"t_start_ns,t_end_ns,label\n{10**18},{10**18 + 10**9},stairs up\n"
    )
    (recording,) = recorded_in(recorded_walk).recordings(recorded_walk)
    assert [s.label for s in recording.segments] == ["upstairs"]


def test_a_folder_without_recordings_of_ours_is_told_in_a_sentence(tmp_path):
    with pytest.raises(DataUnusable, match="no recording in it"):
        next(recorded_in(tmp_path).recordings(tmp_path))
    with pytest.raises(DataMissing, match="hard record"):
        next(DATA_SETS["own"].recordings(tmp_path))
