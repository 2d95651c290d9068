import zipfile

import numpy as np
import pytest

from hard_training.datasets import (
    DATA_SETS,
    DataMissing,
    DataUnusable,
    Recording,
    Segment,
    data_set_named,
    for_placement,
)

PERIOD_NS = 20_000_000


def samples(recording, sensor):
    batches = [b for message in recording.messages for b in message if b.sensor == sensor]
    return np.concatenate([b.t for b in batches]), np.concatenate([b.values for b in batches])


def test_motionsense_is_read_straight_from_the_zip(motionsense):
    found = list(DATA_SETS["motionsense"].recordings(motionsense))
    assert {r.person for r in found} == {1, 2, 3, 4, 9, 10}
    assert len(found) == 36
    (standing,) = [r for r in found if r.name == "std_6/sub_1.csv"]
    t, accel_g = samples(standing, "accel")
    assert t.tolist() == [k * PERIOD_NS for k in range(600)]
    assert accel_g.mean(axis=0) == pytest.approx([0, -1, 0], abs=0.01)
    assert standing.messages[0][0].declared.unit == "g"
    assert standing.messages[0][0].declared.sign == -1
    assert standing.segments == (Segment(0, 600 * PERIOD_NS, "standing"),)


def test_motionsense_reads_the_same_unpacked(motionsense, tmp_path):
    with zipfile.ZipFile(motionsense / "motionsense.zip") as archive:
        archive.extractall(tmp_path)
    packed = list(DATA_SETS["motionsense"].recordings(motionsense))
    unpacked = list(DATA_SETS["motionsense"].recordings(tmp_path))
    assert [r.name for r in unpacked] == [r.name for r in packed]
    for one, other in zip(unpacked, packed, strict=True):
        assert (samples(one, "gyro")[1] == samples(other, "gyro")[1]).all()


def test_hapt_keeps_transitions_and_unlabelled_time(hapt):
    (recording,) = DATA_SETS["hapt"].recordings(hapt)
    assert (recording.name, recording.person) == ("exp04_user02", 2)
    assert [s.label for s in recording.segments] == ["standing", "sit_to_stand", "sitting"]
    centres = np.array([99, 100, 499, 500, 560, 600, 899, 900], np.int64) * PERIOD_NS
    assert recording.labels_at(centres) == [
        None,
        "standing",
        "standing",
        "sit_to_stand",
        None,
        "sitting",
        "sitting",
        None,
    ]


def test_hapt_declares_g_in_the_android_frame(hapt):
    (recording,) = DATA_SETS["hapt"].recordings(hapt)
    t, accel = samples(recording, "accel")
    assert t[-1] == 999 * PERIOD_NS
    assert accel[0].tolist() == pytest.approx([1, 0, 0.1])
    assert recording.messages[0][0].declared.sign == 1
    assert samples(recording, "gyro")[1].shape == (1000, 3)


def test_a_recording_without_labels_has_none_anywhere():
    recording = Recording("x", 1, (), ())
    assert recording.labels_at(np.array([0, 10**9])) == [None, None]


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_missing_archive_is_one_sentence_with_where_to_get_it(name, tmp_path):
    with pytest.raises(DataMissing) as caught:
        next(DATA_SETS[name].recordings(tmp_path))
    assert DATA_SETS[name].obtain in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not DATA_SETS[name].is_in(tmp_path)


def damaged(motionsense, tmp_path, change):
    data = bytearray((motionsense / "motionsense.zip").read_bytes())
    (tmp_path / "motionsense.zip").write_bytes(change(data))
    with pytest.raises(DataUnusable) as caught:
        list(DATA_SETS["motionsense"].recordings(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "motionsense.zip") in str(caught.value)
    assert DATA_SETS["motionsense"].obtain in str(caught.value)
    return str(caught.value)


def test_a_truncated_archive_is_one_sentence(motionsense, tmp_path):
    assert "cut short" in damaged(motionsense, tmp_path, lambda data: data[: len(data) // 2])


def test_an_archive_damaged_further_inside_is_one_sentence(motionsense, tmp_path):
    def overwritten(data):
        data[20_000:20_400] = bytes(400)
        return data

    damaged(motionsense, tmp_path, overwritten)


def test_a_page_saved_as_an_archive_is_one_sentence(motionsense, tmp_path):
    assert "neither a zip" in damaged(motionsense, tmp_path, lambda _: b"<html></html>")


@pytest.mark.parametrize("name", [name for name in DATA_SETS if name != "own"])
def test_an_archive_of_another_version_is_one_sentence(name, tmp_path):
    data_set = DATA_SETS[name]
    with zipfile.ZipFile(tmp_path / data_set.archives[0], "w") as archive:
        archive.writestr("version3/data.parquet", "x")
    with pytest.raises(DataUnusable, match="another version") as caught:
        next(data_set.recordings(tmp_path))
    assert data_set.obtain in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hapt_without_labels_is_refused_by_name(hapt):
    (hapt / "RawData" / "labels.txt").unlink()
    with pytest.raises(DataUnusable, match=r"labels\.txt is missing"):
        next(DATA_SETS["hapt"].recordings(hapt))


def test_a_data_set_is_found_by_name_placement_and_by_its_own_folder(hapt, motionsense):
    assert data_set_named("realworld:thigh").placement == "thigh"
    assert data_set_named("realworld").placement == "waist"
    with pytest.raises(DataMissing, match="it has waist, thigh"):
        data_set_named("realworld:ear")
    with pytest.raises(DataMissing, match="there are hapt, hhar, motionsense"):
        data_set_named("realwurld")
    assert len(list(DATA_SETS["hapt"].recordings(hapt / "RawData"))) == 1
    assert len(list(DATA_SETS["motionsense"].recordings(motionsense / "motionsense.zip"))) == 36


def test_nobody_is_in_two_parts_of_a_split():
    for data_set in DATA_SETS.values():
        assert not set(data_set.split.test) & set(data_set.split.validation)
        assert {data_set.split.part(p) for p in data_set.split.test} <= {"test"}
        assert {data_set.split.part(p) for p in data_set.split.validation} <= {"validation"}
        assert data_set.split.part(1) == "train"


def test_a_placement_without_a_data_set_is_refused():
    assert for_placement("waist").name == "hapt"
    with pytest.raises(DataMissing, match="pocket, waist"):
        for_placement("hat")
