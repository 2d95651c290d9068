"""Motion of people who change what they do every few seconds: real where there are recordings."""

import csv
import io
import zipfile

import numpy as np

from hard_simulator.model import Bout, Motion, Wearer
from tests.faults.plugins import RATE_HZ

TRIALS = ("wlk_7", "std_6", "jog_9", "ups_4", "sit_5", "wlk_8", "dws_2", "std_14")
SCRIPT = ("walking", "standing", "running", "upstairs", "sitting", "downstairs")
G = 9.80665


def write_motion(path, archive, piece_s, trials):
    """Write the .npz of `RestlessConfig` from MotionSense's archive, else a SYNTHETIC one."""
    accel, gyro = (
        _recorded(archive, piece_s, trials) if archive.exists() else _simulated(piece_s, trials)
    )
    np.savez(path, accel=accel.astype(np.float32), gyro=gyro.astype(np.float32))


def _recorded(archive, piece_s, n_trials):
    """Return pieces of a person's trials, cut from their middle, one after the other."""
    pieces = []
    with zipfile.ZipFile(archive) as zipped:
        for trial in TRIALS[:n_trials]:
            with zipped.open(f"A_DeviceMotion_data/{trial}/sub_9.csv") as file:
                rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
            n = min(piece_s * RATE_HZ, len(rows) // RATE_HZ * RATE_HZ)
            begin = (len(rows) - n) // 2
            pieces.append([_reading(row) for row in rows[begin : begin + n]])
    both = np.concatenate([np.array(piece) for piece in pieces])
    return both[:, :3], both[:, 3:]


def _reading(row):
    """Return a row in Android's frame: m/s² with gravity, rad/s; an iPhone turns the sign."""
    accel = [-(float(row[f"userAcceleration.{a}"]) + float(row[f"gravity.{a}"])) * G for a in "xyz"]
    return accel + [float(row[f"rotationRate.{a}"]) for a in "xyz"]


def _simulated(piece_s, trials):
    rng = np.random.default_rng(9)
    bouts = iter([Bout(activity, float(piece_s)) for activity in SCRIPT[:trials]])
    motion = Motion(Wearer.draw("pocket", rng), bouts, float(RATE_HZ), rng)
    return motion.read(len(SCRIPT[:trials]) * piece_s * RATE_HZ)
