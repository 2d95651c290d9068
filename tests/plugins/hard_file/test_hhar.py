"""HHAR: a stream for each person's device, the gyroscope's file beside."""

from tests.plugins.hard_file.reading import Read, write

HEADER = "Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt"
T0 = 1_424_696_631_913_248_572


def row(k, user="a", device="nexus4_1", label="stand", xyz="-5.9,0.6,8.1", t0=T0):
    return f"{k},1424696633908,{t0 + k * 5_000_000},{xyz},{user},nexus4,{device},{label}"


def files(accel, gyro=None):
    members = {"Phones_accelerometer.csv": "\n".join([HEADER, *accel]) + "\n"}
    if gyro is not None:
        members["Phones_gyroscope.csv"] = "\n".join([HEADER, *gyro]) + "\n"
    return members


def test_a_persons_device_is_a_stream_with_its_gyroscope_and_labels(tmp_path):
    accel = [row(0), row(1), row(2, label="walk"), row(3, label="null"), row(0, "b", label="bike")]
    gyro = [row(0, "c"), row(0, xyz="1,2,3"), row(1, xyz="1,2,3"), row(0, "b", xyz="4,5,6")]
    write(tmp_path, files(accel, gyro))
    read = Read(tmp_path / "Phones_accelerometer.csv")
    assert (read.info.format, read.info.sensors) == ("hhar", ("accel", "gyro"))
    assert read.streams == ["a-nexus4_1", "b-nexus4_1"]
    assert read.t() == [T0, T0 + 5_000_000, T0 + 10_000_000, T0 + 15_000_000]
    assert read.values("gyro", "b-nexus4_1") == [[4, 5, 6]]
    assert [n.text for n in read.notes] == ["stand", "walk", "", "bike"]
    assert read.skipped == {"no_accel": 1}


def test_a_device_seen_twice_is_matched_with_its_second_turn(tmp_path):
    accel = [row(0), row(0, device="s3_1"), row(9)]
    gyro = [row(0, xyz="1,0,0"), row(0, device="s3_1", xyz="2,0,0"), row(9, xyz="3,0,0")]
    write(tmp_path, files(accel, gyro))
    read = Read(tmp_path / "Phones_accelerometer.csv")
    assert [b.values[0, 0] for b in read.batches if b.sensor == "gyro"] == [1, 2, 3]


def test_a_person_without_the_gyroscopes_file_has_the_accelerometer_alone(tmp_path):
    write(tmp_path, files([row(0)]))
    assert Read(tmp_path / "Phones_accelerometer.csv").info.sensors == ("accel",)


def test_bad_rows_are_counted_and_the_others_kept(tmp_path):
    accel = [row(0), row(1)[:30], row(2, xyz="nan,1,2"), "", row(3, xyz="x,1,2"), row(4)]
    write(tmp_path, files(accel))
    read = Read(tmp_path / "Phones_accelerometer.csv")
    assert [(t - T0) // 5_000_000 for t in read.t()] == [0, 4]
    assert read.skipped == {"bad_row": 2, "not_finite": 1}
