import zipfile

import numpy as np
import pytest

from hard_training.datasets import DATA_SETS
from hard_training.upright_figures import measure


def test_made_up_steps_are_gait_and_made_up_rest_is_not(motionsense):
    found = measure(motionsense)["motionsense"]
    share = {label: row["share"] for label, row in found["gait_share"].items()}
    assert share["sitting"] == share["standing"] == 0
    assert min(share["walking"], share["running"]) > 0.8
    assert found["walking"]["learned"] == found["walking"]["bouts"] == 6
    assert max(found["walking"]["last_deg"]) < 2
    assert max(found["followed"]["upstairs"]) < 2
    assert found["standing"]["calibrated"] == 6


def test_a_folder_without_data_sets_has_no_figures(tmp_path):
    assert measure(tmp_path) == {}


def test_the_phone_of_sp_sw_har_is_read_with_walks_and_turns_as_one(tmp_path):
    labels = ["SEATED"] * 100 + ["STANDING_UP"] * 100 + ["WALKING"] * 200 + ["TURNING"] * 100
    labels += ["WALKING"] * 200 + ["SITTING_DOWN"] * 100
    rows = [
        f"0.1,{9.8 + 0.01 * np.sin(i)},0.2,0,0,0,{1_657_533_977_813 + 10 * i},{label}"
        for i, label in enumerate(labels)
    ]
    text = "\n".join(["x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label", *rows])
    with zipfile.ZipFile(tmp_path / "sp-sw-har.zip", "w") as archive:
        archive.writestr("DATA/s03/s03_02_sp.csv", text)
        archive.writestr("DATA/s03/s03_02_sw.csv", text)
        archive.writestr("DATA/executions_info.csv", "x\n")
    (recording,) = DATA_SETS["sp-sw-har"].recordings(tmp_path)
    assert (recording.person, recording.order) == (3, 2)
    assert [s.label for s in recording.segments] == [
        "sitting",
        "sit_to_stand",
        "walking",
        "stand_to_sit",
    ]
    walking = recording.segments[2]
    assert walking.t_end_ns - walking.t_start_ns == 5_000_000_000
    assert measure(tmp_path)["sp-sw-har"]["gait_share"]["walking"]["share"] == 0


@pytest.mark.recordings
def test_real_walking_tells_which_way_is_up_and_real_rest_tells_nothing(real_people):
    found = measure(real_people(motionsense=(1, 2), hapt=(1, 3)))
    pocket, waist = found["motionsense"], found["hapt"]
    assert pocket["people"] == waist["people"] == 2
    assert pocket["gait_share"]["walking"]["share"] > 0.9
    assert waist["gait_share"]["walking"]["share"] > 0.97
    for figures, label in [
        (pocket, "sitting"),
        (pocket, "standing"),
        (waist, "sitting"),
        (waist, "standing"),
        (waist, "laying"),
    ]:
        assert figures["gait_share"][label]["share"] < 0.0005
    assert pocket["walking"]["learned"] == pocket["walking"]["bouts"] == 6
    median, most = pocket["walking"]["last_deg"][0], pocket["walking"]["last_deg"][2]
    assert median < 1
    assert most < 8
    assert max(waist["walking"]["last_deg"]) < 2
    assert pocket["followed"]["walking"][1] < 4
    assert pocket["standing"]["calibrated"] == pocket["standing"]["bouts"] == 4
