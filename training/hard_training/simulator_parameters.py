"""Measure the parameters of the simulator's wearers from two public data sets.

Run as `python -m hard_training.simulator_parameters --data FOLDER`; it reads `motionsense.zip`
and `hapt.zip` there and writes `hard_simulator/parameters.json`.  It is deterministic.  What it
writes are statistics over people (means, the main directions in which people differ, spreads,
spectra); never a sample, nor one person's figures.  People whom the evaluations are tested on are
left out.  It is not a fit to any classifier: none is looked at.

How: every recording is cut into windows of 5.12 s.  A window of gait is fitted by least squares
with a Fourier series of the gait cycle (the stride, two steps) common to the six channels; the
cycles are brought to one phase reference by generalised Procrustes alignment, and the wearings
(one person wearing the phone in one session) are summed up by a mean and principal components.
What the series leaves is noise, described by its spectrum.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hard_simulator
from hard.api import STANDARD_GRAVITY_M_S2
from hard_simulator.model import TURNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]

__all__ = ["Recording", "main", "measure", "read_hapt", "read_motionsense"]

RATE_HZ = 50.0
WINDOW_SAMPLES = 256
STRIDE_SAMPLES = 128
TRIM_SAMPLES = 50
"""Left out at both ends of a recording: the phone is being put away, or the activity changes."""
HARMONICS = 10
COMPONENTS = 6
BAND_EDGES_HZ = (0.0, 0.6, 1.2, 2.0, 3.2, 5.0, 7.5, 11.0, 16.0, 25.0)
CHANNEL_WEIGHTS = np.array([1.0, 1.0, 1.0, 3.0, 3.0, 3.0])
"""1 rad/s counts as 3 m/s², which is about how the channels vary in gait."""
MAX_TILT_DEG = 60.0
"""Windows held further than this from the activity's usual way (phone upside down) are left out."""
MIN_PERIODIC_SHARE = 0.2
"""Windows of gait with less variance in the series (the wearer stood or turned) are left out."""

STRIDE_RANGES_HZ = {
    "walking": (0.68, 1.25),
    "upstairs": (0.55, 1.05),
    "downstairs": (0.6, 1.15),
    "running": (1.0, 1.8),
}
ACTIVITIES = (*STRIDE_RANGES_HZ, "sitting", "standing", "laying")
"""Walking first: its phase is the reference of the others."""
TEST_PEOPLE = {
    "pocket": frozenset({3, 9, 15, 20, 23}),
    "waist": frozenset({2, 4, 9, 10, 12, 13, 18, 20, 24}),
}
MOTIONSENSE_LABELS = {
    "wlk": "walking",
    "ups": "upstairs",
    "dws": "downstairs",
    "jog": "running",
    "sit": "sitting",
    "std": "standing",
}
MOTIONSENSE_FIRST_SHORT_TRIAL = 11
"""Trials from 11 on are the second, shorter session of each person."""
HAPT_LABELS = {
    1: "walking",
    2: "upstairs",
    3: "downstairs",
    4: "sitting",
    5: "standing",
    6: "laying",
}
PROVENANCE = {
    "command": "python -m hard_training.simulator_parameters --data FOLDER",
    "pocket": {
        "data": "MotionSense DeviceMotion (Malekzadeh et al. 2019, MIT), iPhone 6s, trouser pocket",
        "left_out_people": sorted(TEST_PEOPLE["pocket"]),
    },
    "waist": {
        "data": "HAPT raw recordings (UCI no. 341, CC BY 4.0), Samsung Galaxy S II, waist",
        "left_out_people": sorted(TEST_PEOPLE["waist"]),
    },
}


@dataclass(frozen=True)
class Recording:
    """One stretch of one activity of one person.

    `values` is float64[n, 6]: acceleration including gravity (m/s², Android frame), angular rate
    (rad/s), at 50 Hz.  `session` tells one wearing of the phone from the next.
    """

    activity: str
    person: int
    session: int
    values: Floats


@dataclass(frozen=True)
class _Windows:
    """Windows of one activity and what was fitted to them; `wearing` tells whose they are.

    Without gait, `series` and `log_stride_hz` have no rows and a line takes the series' place.
    """

    mean: Floats  # [n, 6]
    series: Complexes  # [n, HARMONICS, 6]
    log_stride_hz: Floats  # [n]
    residual: Floats  # [n, WINDOW_SAMPLES, 6]
    wearing: NDArray[np.intp]  # [n], index into the placement's wearings
    recording: NDArray[np.intp]  # [n], index into the recordings


def read_motionsense(path: Path) -> list[Recording]:
    """Read the recordings of the people not kept for tests from the zip at `path`."""
    recordings = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            match = re.fullmatch(r".*/([a-z]{3})_(\d+)/sub_(\d+)\.csv", name)
            if match is None or int(match[3]) in TEST_PEOPLE["pocket"]:
                continue
            table = np.loadtxt(
                io.BytesIO(archive.read(name)), delimiter=",", skiprows=1, usecols=range(4, 13)
            )
            # iOS gives gravity and the rest in g, both with the sign opposite to Android's.
            accel = -(table[:, 0:3] + table[:, 6:9]) * STANDARD_GRAVITY_M_S2
            session = int(int(match[2]) >= MOTIONSENSE_FIRST_SHORT_TRIAL)
            values = np.hstack([accel, table[:, 3:6]])
            recordings.append(
                Recording(MOTIONSENSE_LABELS[match[1]], int(match[3]), session, values)
            )
    return recordings


def read_hapt(path: Path) -> list[Recording]:
    """Read the labelled stretches of the people not kept for tests from the zip at `path`."""
    recordings = []
    with zipfile.ZipFile(path) as archive:
        folder = next(n for n in archive.namelist() if n.endswith("labels.txt"))[
            : -len("labels.txt")
        ]

        def table(name: str) -> Floats:
            return np.loadtxt(io.BytesIO(archive.read(folder + name)))

        labels = table("labels.txt").astype(int)
        for experiment, person in sorted({(int(e), int(p)) for e, p in labels[:, :2]}):
            if person in TEST_PEOPLE["waist"]:
                continue
            name = f"exp{experiment:02d}_user{person:02d}.txt"
            accel = table(f"acc_{name}") * STANDARD_GRAVITY_M_S2
            values = np.hstack([accel, table(f"gyro_{name}")])
            recordings += [
                Recording(HAPT_LABELS[label], person, experiment, values[first - 1 : last])
                for e, _, label, first, last in labels
                if e == experiment and label in HAPT_LABELS
            ]
    return recordings


def _cut(recordings: list[Recording]) -> tuple[Floats, NDArray[np.intp]]:
    """Cut windows [n, WINDOW_SAMPLES, 6] and tell which recording each comes from."""
    cut, source = [], []
    for index, recording in enumerate(recordings):
        inner = recording.values[TRIM_SAMPLES:-TRIM_SAMPLES]
        for start in range(0, len(inner) - WINDOW_SAMPLES + 1, STRIDE_SAMPLES):
            cut.append(inner[start : start + WINDOW_SAMPLES])
            source.append(index)
    return np.array(cut), np.array(source)


def _as_usual(windows: Floats) -> NDArray[np.bool_]:
    """Tell which windows are held about the way that this activity's windows usually are."""
    means = windows[:, :, :3].mean(axis=1)
    directions = means / np.linalg.norm(means, axis=1, keepdims=True)
    usual = np.median(directions, axis=0)
    cosines = directions @ usual / np.linalg.norm(usual)
    return np.asarray(cosines > np.cos(np.radians(MAX_TILT_DEG)))


def _fit_series(windows: Floats, stride_range_hz: tuple[float, float]) -> tuple[Any, ...]:
    """Fit each window by a constant and HARMONICS harmonics of its own stride frequency.

    Returns log stride frequency [n], series [n, HARMONICS, 6], residual, and the share of the
    variance that the series explains [n].
    """
    strides_hz = np.geomspace(*stride_range_hz, 80)
    t_s = (np.arange(WINDOW_SAMPLES) - WINDOW_SAMPLES / 2) / RATE_HZ
    angles = 2 * np.pi * strides_hz[:, None, None] * t_s[:, None] * np.arange(1, HARMONICS + 1)
    bases = np.concatenate([np.ones_like(angles[:, :, :1]), np.cos(angles), np.sin(angles)], axis=2)
    weighted = (windows * CHANNEL_WEIGHTS).transpose(1, 0, 2).reshape(WINDOW_SAMPLES, -1)
    explained = [
        ((np.linalg.qr(basis)[0].T @ weighted) ** 2).sum(axis=0).reshape(-1, 6).sum(axis=1)
        for basis in bases
    ]
    best = np.argmax(explained, axis=0)
    fitted = np.empty((len(windows), 1 + 2 * HARMONICS, 6))
    for index in np.unique(best):
        fitted[best == index] = np.linalg.pinv(bases[index]) @ windows[best == index]
    residual = windows - bases[best] @ fitted
    centred = (windows - windows.mean(axis=1, keepdims=True)) * CHANNEL_WEIGHTS
    left = ((residual * CHANNEL_WEIGHTS) ** 2).sum(axis=(1, 2)) / (centred**2).sum(axis=(1, 2))
    series = fitted[:, 1 : 1 + HARMONICS] - 1j * fitted[:, 1 + HARMONICS :]
    return np.log(strides_hz[best]), series, residual, 1 - left


def _fit(recordings: list[Recording], activity: str, wearings: list[tuple[int, int]]) -> _Windows:
    """Cut, sift and fit the windows of `activity`."""
    chosen = [r for r in recordings if r.activity == activity]
    windows, recording = _cut(chosen)
    kept = _as_usual(windows)
    series = np.empty((0, HARMONICS, 6), complex)
    log_stride_hz = np.empty(0)
    if activity in STRIDE_RANGES_HZ:
        log_stride_hz, series, residual, share = _fit_series(windows, STRIDE_RANGES_HZ[activity])
        kept &= share > MIN_PERIODIC_SHARE
        log_stride_hz, series = log_stride_hz[kept], series[kept]
    else:
        line = np.vander(np.linspace(-1, 1, WINDOW_SAMPLES), 2)
        residual = windows - line @ (np.linalg.pinv(line) @ windows)
    wearing = np.array([wearings.index((r.person, r.session)) for r in chosen])[recording]
    mean = windows[kept].mean(axis=1)
    return _Windows(mean, series, log_stride_hz, residual[kept], wearing[kept], recording[kept])


def _shifted_to(series: Complexes, template: Complexes) -> tuple[Complexes, Floats]:
    """Shift each cycle of `series` [n, HARMONICS, 6] in phase to fit `template` (or [n, ...]).

    Returns the shifted cycles and how well they fit [n].
    """
    order = np.arange(1, HARMONICS + 1)
    shifts = np.exp(1j * np.outer(order, np.linspace(0, 2 * np.pi, 128, endpoint=False)))
    fit = ((series * template.conj()) @ CHANNEL_WEIGHTS**2) @ shifts
    best = fit.real.argmax(axis=1)
    return series * shifts[:, best].T[:, :, None], fit.real.max(axis=1)


def _mean_by(values: NDArray[Any], groups: NDArray[np.intp], n_groups: int) -> NDArray[Any]:
    """Return the mean of `values` in each group; nan where a group has none."""
    means = np.full((n_groups, *values.shape[1:]), np.nan, values.dtype)
    for group in np.unique(groups):
        means[group] = values[groups == group].mean(axis=0)
    return means


def _template(series: Complexes, wearing: NDArray[np.intp]) -> Complexes:
    """Return the mean cycle after aligning all cycles with it; each wearing counts once."""
    template: Complexes = series[np.abs(series[:, 1]).sum(axis=1).argmax()]
    for _ in range(15):
        shifted, _fit_of_each = _shifted_to(series, template)
        template = np.nanmean(_mean_by(shifted, wearing, wearing.max() + 1), axis=0)
    return template


def _turned_people(recordings: list[Recording]) -> set[int]:
    """Return who wore the phone facing the other way: turned, their walking fits the others'."""
    walking = [r for r in recordings if r.activity == "walking"]
    people = sorted({r.person for r in walking})
    windows = _fit(walking, "walking", [(r.person, r.session) for r in walking])
    person = np.array([people.index(r.person) for r in walking])[windows.recording]
    turned = np.zeros(len(people), bool)
    for _ in range(5):
        faced = np.where(turned[person][:, None, None], TURNED, 1.0) * windows.series
        template = _template(faced, person)
        as_worn = _mean_by(_shifted_to(windows.series, template)[1], person, len(people))
        if_turned = _mean_by(_shifted_to(windows.series * TURNED, template)[1], person, len(people))
        turned = if_turned > as_worn
    return {p for p, t in zip(people, turned, strict=True) if t}


def _aligned(windows: _Windows, reference: Complexes | None) -> tuple[Complexes, Complexes]:
    """Bring all cycles to one phase, that of `reference` where given.

    Returns the cycles, each fitted to the mean of its own wearing, and the template.
    """
    template = _template(windows.series, windows.wearing)
    if reference is not None:
        template = _shifted_to(template[None], reference)[0][0]
    shifted = _shifted_to(windows.series, template)[0]
    own = _mean_by(shifted, windows.wearing, windows.wearing.max() + 1)
    return _shifted_to(shifted, own[windows.wearing])[0], template


def _band_rms(residual: Floats) -> Floats:
    """Return the root mean square in each band [bands, 6] of `residual` [n, samples, 6]."""
    taper = np.hanning(WINDOW_SAMPLES)[:, None]
    power = (np.abs(np.fft.rfft(residual * taper, axis=1)) ** 2).mean(axis=0)
    power *= residual.var(axis=(0, 1)) / power.sum(axis=0)
    frequencies_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / RATE_HZ)
    band = np.digitize(frequencies_hz, BAND_EDGES_HZ[1:-1])
    return np.sqrt([power[band == b].sum(axis=0) for b in range(len(BAND_EDGES_HZ) - 1)])


def _spread(values: NDArray[Any], wearing: NDArray[np.intp], n_wearings: int) -> Floats:
    """Return the standard deviation (of one part, if complex) within wearings."""
    within = values - _mean_by(values, wearing, n_wearings)[wearing]
    parts = 2 if np.iscomplexobj(values) else 1
    return np.asarray(np.sqrt((np.abs(within) ** 2).mean(axis=0) / parts))


def _bout_spread(windows: _Windows, n_wearings: int) -> Floats:
    """Return how the mean acceleration differs from bout to bout of one wearing [3]."""
    first = np.unique(windows.recording, return_index=True)[1]
    bouts = np.searchsorted(np.unique(windows.recording), windows.recording)
    means = _mean_by(windows.mean[:, :3], bouts, len(first))
    return _spread(means, windows.wearing[first], n_wearings)


def _describe(
    windows: _Windows, series: Complexes, n_wearings: int
) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Return what each wearing is like (rows may be nan) and what all have in common."""
    log_rms = np.log(windows.residual.std(axis=1))
    whitened = windows.residual / windows.residual.std(axis=1, keepdims=True)
    each = {
        "accel_mean_m_s2": windows.mean[:, :3],
        "noise_log_rms": log_rms,
    }
    shared: dict[str, Any] = {
        "noise_band_rms": _band_rms(whitened).T,
        "noise_correlation": np.corrcoef(whitened.reshape(-1, 6).T),
        "noise_log_rms_within_sd": _spread(log_rms.mean(axis=1), windows.wearing, n_wearings),
        "accel_mean_within_sd_m_s2": _spread(
            windows.mean[:, :3], windows.recording, windows.recording.max() + 1
        ),
        "accel_mean_bout_sd_m_s2": _bout_spread(windows, n_wearings),
    }
    if len(series):
        each |= {
            "gyro_mean_rad_s": windows.mean[:, 3:],
            "log_stride_hz": windows.log_stride_hz,
            "harmonics_cos": series.real.transpose(0, 2, 1).reshape(len(series), -1),
            "harmonics_sin": -series.imag.transpose(0, 2, 1).reshape(len(series), -1),
        }
        shared |= {
            "log_stride_within_sd": _spread(windows.log_stride_hz, windows.wearing, n_wearings),
            "harmonics_within_sd": _spread(series, windows.wearing, n_wearings).T,
        }
    rows = {
        name: _mean_by(values, windows.wearing, n_wearings).reshape(n_wearings, -1)
        for name, values in each.items()
    }
    return rows, shared


COMPONENT_WEIGHTS = {
    "accel_mean_m_s2": 2.0,
    "gyro_mean_rad_s": 3.0,
    "noise_log_rms": 1.0,
    "log_stride_hz": 20.0,
}
"""What a unit of each parameter counts in the search for the main directions; harmonics count by
CHANNEL_WEIGHTS."""


def _components(rows: dict[tuple[str, str], Floats]) -> tuple[dict[tuple[str, str], Floats], float]:
    """Sum up the wearings by their mean (first row) and COMPONENTS directions of one sd each.

    Returns the matrices [1 + COMPONENTS, ...] and the share of the spread they keep.
    """
    means = {key: np.nanmean(values, axis=0) for key, values in rows.items()}
    weights = {
        key: COMPONENT_WEIGHTS.get(key[1], np.repeat(CHANNEL_WEIGHTS, HARMONICS)) for key in rows
    }
    table = np.hstack(
        [np.nan_to_num(values - means[key]) * weights[key] for key, values in rows.items()]
    )
    _, sizes, directions = np.linalg.svd(table, full_matrices=False)
    # The sign of a direction is arbitrary: its largest entry is made positive.
    directions *= np.sign(
        directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    )[:, None]
    kept = (sizes**2)[:COMPONENTS].sum() / (sizes**2).sum()
    scaled = directions[:COMPONENTS] * sizes[:COMPONENTS, None] / np.sqrt(len(table) - 1)
    matrices, start = {}, 0
    for key, mean in means.items():
        block = scaled[:, start : start + len(mean)] / weights[key]
        start += len(mean)
        matrices[key] = np.vstack([mean, block])
    return matrices, float(kept)


def _measure_placement(placement: str, recordings: list[Recording]) -> dict[str, Any]:
    """Return the parameters of one placement, ready for JSON."""
    turned = _turned_people(recordings) if placement == "pocket" else set()
    faced = [replace(r, values=r.values * TURNED) if r.person in turned else r for r in recordings]
    wearings = sorted({(r.person, r.session) for r in recordings})
    rows: dict[tuple[str, str], Floats] = {}
    activities: dict[str, Any] = {}
    reference: Complexes | None = None
    present = {r.activity for r in recordings}
    for activity in (a for a in ACTIVITIES if a in present):
        windows = _fit(faced, activity, wearings)
        series = windows.series
        if activity in STRIDE_RANGES_HZ:
            series, template = _aligned(windows, reference)
            reference = template if reference is None else reference
        each, activities[activity] = _describe(windows, series, len(wearings))
        rows |= {(activity, name): values for name, values in each.items()}
    matrices, kept = _components(rows)
    for (activity, name), matrix in matrices.items():
        activities[activity][name] = matrix
    people = len({r.person for r in recordings})
    return {
        "people": people,
        "wearings": len(wearings),
        "turned_share": len(turned) / people,
        "spread_kept_share": kept,
        "activities": activities,
    }


def measure(data: Path) -> dict[str, Any]:
    """Return everything that `parameters.json` holds, measured from the zips in `data`."""
    placements = {
        "pocket": read_motionsense(data / "motionsense.zip"),
        "waist": read_hapt(data / "hapt.zip"),
    }
    return {
        "about": "Parameters of SYNTHETIC wearers: statistics over people, no recorded sample.",
        "provenance": PROVENANCE,
        "harmonics": HARMONICS,
        "rate_hz": RATE_HZ,
        "window_samples": WINDOW_SAMPLES,
        "band_edges_hz": list(BAND_EDGES_HZ),
        "placements": {name: _measure_placement(name, r) for name, r in placements.items()},
    }


def _rounded(value: Any) -> Any:
    """Return `value` as JSON can hold it: three significant digits, two below one."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if np.ndim(value):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.ndarray):
        size = float(value)
        number = round(float(f"{size:.{2 if abs(size) < 1 else 3}g}"), 3)
        return int(number) if number.is_integer() else number
    return value


def to_json(value: Any, indent: str = "") -> str:
    """Format measured parameters for people: one line per row of numbers.

    >>> print(to_json({"a": [[1.0, 0.0123456], [2.0, 3.0]]}))
    {
     "a": [
     [1,0.012],
     [2,3]]
    }
    """
    value = _rounded(value)
    if isinstance(value, dict):
        inner = indent + " "
        rows = [f"{inner}{json.dumps(key)}: {to_json(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(" " + to_json(item) for item in value) + "]"
    return json.dumps(value, separators=(",", ":"))


def main() -> None:
    """Measure and write: the command of this module."""
    parser = argparse.ArgumentParser(prog="python -m hard_training.simulator_parameters")
    parser.add_argument("--data", type=Path, required=True, help="folder with the two zips")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(hard_simulator.__file__).with_name("parameters.json"),
        help="file to write (default: the one that the simulator reads)",
    )
    arguments = parser.parse_args()
    arguments.out.write_text(to_json(measure(arguments.data)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
