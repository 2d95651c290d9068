"""Small archives in the data sets' original layouts, made up here; and the real ones' folder."""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

MOTIONSENSE_HEADER = (
    ",attitude.roll,attitude.pitch,attitude.yaw,gravity.x,gravity.y,gravity.z,"
    "rotationRate.x,rotationRate.y,rotationRate.z,"
    "userAcceleration.x,userAcceleration.y,userAcceleration.z"
)
# Trial -> (direction of gravity as iOS gives it, Hz, strength in g).
TRIALS = {
    "dws_1": ((0, -1, 0), 2.6, 0.5),
    "ups_3": ((0, -1, 0), 1.4, 0.2),
    "wlk_7": ((0, -1, 0), 1.9, 0.3),
    "jog_9": ((0, -1, 0), 2.8, 1.2),
    "sit_5": ((0, 0, -1), 0.0, 0.0),
    "std_6": ((0, -1, 0), 0.0, 0.0),
}


def motionsense_csv(trial: str, rows: int, seed: int) -> str:
    gravity, hz, strength_g = TRIALS[trial]
    rng = np.random.default_rng(seed)
    wave = strength_g * np.sin(2 * np.pi * hz * np.arange(rows) / 50)[:, None]
    user = wave * (0.3, 1.0, 0.5) + rng.normal(0, 0.01, (rows, 3))
    rotation = 2 * wave * (1.0, 0.2, 0.1) + rng.normal(0, 0.01, (rows, 3))
    table = np.column_stack(
        [np.arange(rows), np.zeros((rows, 3)), np.tile(gravity, (rows, 1)), rotation, user]
    )
    lines = [f"{int(row[0])}," + ",".join(f"{v:.6f}" for v in row[1:]) for row in table]
    return "\n".join([MOTIONSENSE_HEADER, *lines]) + "\n"


@pytest.fixture(scope="session")
def motionsense(tmp_path_factory):
    """A folder with motionsense.zip: people of all three parts, 12 s of each activity."""
    folder = tmp_path_factory.mktemp("motionsense")
    with zipfile.ZipFile(folder / "motionsense.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data_subjects_info.csv", "code,weight\n1,102\n")
        for person in (1, 2, 3, 4, 9, 10):
            for i, trial in enumerate(TRIALS):
                csv = motionsense_csv(trial, 600, 100 * person + i)
                archive.writestr(f"A_DeviceMotion_data/{trial}/sub_{person}.csv", csv)
    return folder


@pytest.fixture
def hapt(tmp_path):
    """An unpacked RawData folder: one experiment of user 2, standing, sitting down, sitting."""
    raw = tmp_path / "RawData"
    raw.mkdir()
    upright = np.tile((1.0, 0.0, 0.1), (1000, 1))
    np.savetxt(raw / "acc_exp04_user02.txt", upright)
    np.savetxt(raw / "gyro_exp04_user02.txt", np.full((1000, 3), 0.02))
    (raw / "labels.txt").write_text("4 2 4 601 900\n4 2 5 101 500\n4 2 8 501 560\n")
    return tmp_path


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real data sets; skips where it is absent."""
    folder = Path(os.environ.get("HARD_DATA") or Path(__file__).parents[4] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real recordings: set HARD_DATA, or put them into ../shared/data")
    return folder


# Whose a member of an archive is; one that is nobody's is everybody's.
WHOSE = {"motionsense": re.compile(r"sub_(\d+)\.csv"), "hapt": re.compile(r"user(\d+)\.txt")}


@pytest.fixture(scope="session")
def real_people(real_data, tmp_path_factory):
    """Give a folder with the real archives of some people alone: reading all takes long."""

    def of(**people):
        folder = tmp_path_factory.mktemp("people")
        for name, numbers in people.items():
            archive = f"{name}.zip"
            with (
                zipfile.ZipFile(real_data / archive) as whole,
                zipfile.ZipFile(folder / archive, "w") as some,
            ):
                for member in whole.namelist():
                    found = WHOSE[name].search(member)
                    if not found or int(found[1]) in numbers:
                        some.writestr(member, whole.read(member))
        return folder

    return of
