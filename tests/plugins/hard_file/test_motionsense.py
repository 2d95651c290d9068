"""The MotionSense CSV."""

import numpy as np

from hard_file import Options, open_recording

HEADER = (
    ",attitude.roll,attitude.pitch,attitude.yaw,gravity.x,gravity.y,gravity.z,rotationRate.x,"
    "rotationRate.y,rotationRate.z,userAcceleration.x,userAcceleration.y,userAcceleration.z"
)
ROWS = (
    "0,1,2,3,-0.25,0.5,0.125,7,8,9,0.5,0.25,-1",
    "1,1,2,3,0,oops,0,7,8,9,0,0,0",
    "2,1,2,3,0,1,0,0.1,0.2,0.30000000000000004,0,0,1.5e-05",
)


def read(tmp_path, options=None):
    path = tmp_path / "sub_1.csv"
    path.write_text("\n".join((HEADER, *ROWS, "")), encoding="utf-8")
    recording = open_recording(path, options)
    skipped = []
    (message,) = (m for m in recording.messages(lambda *what: skipped.append(what[0])) if m)
    return recording.info, message, skipped


def test_gravity_and_user_acceleration_are_added_with_the_ios_sign(tmp_path):
    info, (accel, gyro), _ = read(tmp_path)
    assert (info.format, info.sensors) == ("motionsense", ("accel", "gyro"))
    assert (info.clock, info.sign) == ("relative", -1)
    assert (accel.declared.unit, accel.declared.sign) == ("g", -1)
    assert accel.values.tolist() == np.float32([[0.25, 0.75, -0.875], [0, 1, 1.5e-5]]).tolist()
    assert gyro.declared.unit == "rad/s"
    assert gyro.values.tolist() == np.float32([[7, 8, 9], [0.1, 0.2, 0.3]]).tolist()


def test_rows_stand_every_20_ms_and_a_bad_one_leaves_its_place_empty(tmp_path):
    _, (accel, gyro), skipped = read(tmp_path)
    assert accel.t.tolist() == gyro.t.tolist() == [0, 40_000_000]
    assert skipped == ["not_a_number"]


def test_a_start_moves_the_stamps(tmp_path):
    info, (accel, _), _ = read(tmp_path, Options(start="2024-01-01T00:00:00Z"))
    assert info.clock == "epoch"
    assert accel.t.tolist() == [1_704_067_200_000_000_000, 1_704_067_200_040_000_000]
