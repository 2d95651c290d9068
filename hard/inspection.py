"""What is in a recording: streams, rates, gaps, units, gravity, sign, labels, which model it fits.

Pure: messages in, an `Inspection` out; `hard inspect` prints it.  What a model makes of the signal
is asked of the very `Conditioner` that the pipe uses.  Bounded: a row a second is kept of each
sensor, of recordings over a day fewer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hard.api import (
    NS_PER_S,
    STANDARD_GRAVITY_M_S2,
    Annotation,
    Declared,
    SampleBatch,
    Sensor,
    Unit,
    rfc3339,
)
from hard.conditioning import MAX_TURN_RAD_S, Conditioned, Conditioner, GridBlock, Verdict
from hard.ordering import MAX_GAP_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from hard.api import Message
    from hard.card import ModelInput

__all__ = [
    "Finding",
    "Fit",
    "Inspection",
    "Inspector",
    "SensorReport",
    "StreamReport",
    "Stretch",
    "described",
    "figure",
]

MAX_ROWS = 86_400
"""So many rows of a second are kept of a sensor; then every other one is dropped."""
_STILL = 0.03  # a second whose spread is below this share of its mean vector is rest
_ROW_WIDTH = 9
_FEWEST = 5  # samples that say something of their second
_SI: Mapping[Unit, float] = {
    "m/s2": 1.0,
    "g": STANDARD_GRAVITY_M_S2,
    "rad/s": 1.0,
    "deg/s": float(np.pi / 180),
}
Gravity = Literal["included", "beside", "removed", "unclear", "no accelerometer"]


@dataclass(frozen=True, slots=True, eq=False)
class SensorReport:
    """One sensor of one stream.

    Norms are in the declared unit: `resting_norm` over the seconds at rest (None without one),
    `usual_norm` the median over all seconds of the mean vector's (acceleration) or of the mean
    norm (gyroscope).  `jitter_ms` is the standard deviation of the steps between stamps without
    the gaps, which are steps over 0.2 s.  `seconds` is float64[n, 4]: second since the first
    sample, and smallest, mean and largest norm in it.
    """

    sensor: Sensor
    declared: Declared
    samples: int
    first_ns: int
    last_ns: int
    rate_hz: float
    jitter_ms: float
    gaps: int
    gaps_s: float
    longest_gap_s: float
    duplicates: int
    repeated_stamps: int
    backwards: int
    resting_s: int
    resting_norm: float | None
    usual_norm: float
    seconds: NDArray[np.float64] = field(repr=False)

    @property
    def duration_s(self) -> float:
        """From the earliest to the latest stamp."""
        return (self.last_ns - self.first_ns) / NS_PER_S


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `t_ns` on the model's contract is kept (ok) or not (rejected, and why)."""

    t_ns: int
    status: Literal["ok", "rejected"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model could use of a stream: seconds, and the verdicts one after another."""

    model: str
    usable_s: float
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What contradicts the declaration or is missing from it, and the option that may mend it."""

    text: str
    option: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One stream: its sensors, what the signal says of them, its labels in seconds."""

    stream: str
    sensors: tuple[SensorReport, ...]
    gravity: Gravity
    findings: tuple[Finding, ...]
    labels: Mapping[str, float]
    fits: tuple[Fit, ...]

    @property
    def sign(self) -> Literal[1, -1] | None:
        """+1 for the Android frame, -1 for iOS, None when nobody knows."""
        return next((s.declared.sign for s in self.sensors if s.sensor != "gyro"), None)


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that is in a recording."""

    streams: tuple[StreamReport, ...]

    @property
    def options(self) -> dict[str, str]:
        """The options that the recording should be opened with, by the findings."""
        found = [finding for report in self.streams for finding in report.findings]
        return {one.option: one.value for one in found if one.option and one.value}

    def to_json(self) -> dict[str, Any]:
        """Return it without the rows behind the plot."""
        body = asdict(self) | {"options": self.options}
        for stream, report in zip(body["streams"], self.streams, strict=True):
            stream["sign"] = report.sign
            for sensor, its_report in zip(stream["sensors"], report.sensors, strict=True):
                del sensor["seconds"]
                sensor["duration_s"] = its_report.duration_s
        return body


class Inspector:
    """Takes a recording's messages; `models` are the inputs to measure it against."""

    def __init__(self, models: Mapping[str, ModelInput]) -> None:
        self._models = models
        self._streams: dict[str, _Stream] = {}

    def feed(self, message: Message) -> None:
        """Take what arrived together."""
        for stream in dict.fromkeys(part.stream for part in message):
            self._streams.setdefault(stream, _Stream(self._models)).feed(
                [part for part in message if part.stream == stream]
            )

    def finish(self) -> Inspection:
        """Return what was found."""
        reports = tuple(s.report(name) for name, s in self._streams.items() if s.sensors)
        return Inspection(reports)


class _Stream:
    """One stream while it is read."""

    def __init__(self, models: Mapping[str, ModelInput]) -> None:
        self.sensors: dict[Sensor, _Track] = {}
        self._notes: list[tuple[int, str]] = []
        self._fits = {wanted: _Fitting(wanted) for wanted in models.values()}
        self._models = models

    def feed(self, message: Message) -> None:
        batches = [part for part in message if isinstance(part, SampleBatch) and len(part)]
        for batch in batches:
            self.sensors.setdefault(batch.sensor, _Track()).add(batch)
        self._notes += [(part.t, part.text) for part in message if isinstance(part, Annotation)]
        for fit in self._fits.values():
            fit.feed(batches)

    def report(self, name: str) -> StreamReport:
        sensors = tuple(track.report(sensor) for sensor, track in self.sensors.items())
        gravity, findings = _judged({one.sensor: one for one in sensors})
        for fit in self._fits.values():
            fit.finish()
        fits = tuple(self._fits[wanted].report(model) for model, wanted in self._models.items())
        return StreamReport(
            name,
            sensors,
            gravity,
            tuple(findings),
            self._labels(max(one.last_ns for one in sensors)),
            fits,
        )

    def _labels(self, end_ns: int) -> dict[str, float]:
        spent: Counter[str] = Counter()
        notes = sorted(self._notes)
        for (t, text), (until, _) in pairwise([*notes, (end_ns, "")]):
            if text:
                spent[text] += max(until - t, 0)
        return {text: ns / NS_PER_S for text, ns in spent.most_common()}


class _Fitting:
    """One model's conditioning of one stream."""

    def __init__(self, wanted: ModelInput) -> None:
        self._period_s = wanted.period_ns / NS_PER_S
        self._conditioner = Conditioner(wanted, Counter())
        self._usable = 0
        self._stretches: list[Stretch] = []

    def feed(self, batches: Sequence[SampleBatch]) -> None:
        if batches:
            self._take(self._conditioner.feed(batches))

    def finish(self) -> None:
        self._take(self._conditioner.flush())

    def report(self, model: str) -> Fit:
        return Fit(model, round(self._usable * self._period_s, 3), tuple(self._stretches))

    def _take(self, found: Iterable[Conditioned]) -> None:
        for item in found:
            if isinstance(item, GridBlock):
                self._usable += int((item.valid & item.covered).sum())
            elif isinstance(item, Verdict):
                self._stretches.append(Stretch(item.t, item.status, item.reason))


class _Track:
    """One sensor while it is read: sums over its steps, and a row for every second."""

    def __init__(self) -> None:
        self.n = self.duplicates = self.repeated = self.backwards = 0
        self.first_ns, self.last_ns = 2**63 - 1, -(2**63)
        self._steps, self._sum_s, self._squares_s2 = 0, 0.0, 0.0
        self._gaps, self._gaps_ns, self._longest_ns = 0, 0, 0
        self._last: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        self._rows: NDArray[np.float64] = np.empty((0, _ROW_WIDTH))
        self._new: list[NDArray[np.float64]] = []
        self.declared: Declared | None = None

    def add(self, batch: SampleBatch) -> None:
        self.declared = batch.declared
        self.n += len(batch)
        self.first_ns = min(self.first_ns, int(batch.t.min()))
        self.last_ns = max(self.last_ns, int(batch.t.max()))
        t, values = batch.t, batch.values
        if self._last is not None:
            t = np.concatenate([self._last[0], t])
            values = np.concatenate([self._last[1], values])
        self._last = (t[-1:], values[-1:])
        self._add_steps(np.diff(t), values)
        self._add_seconds(batch.t, batch.values.astype(np.float64))

    def _add_steps(self, steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        same = steps == 0
        alike = (values[1:] == values[:-1]).all(axis=1)
        self.duplicates += int((same & alike).sum())
        self.repeated += int((same & ~alike).sum())
        self.backwards += int((steps < 0).sum())
        gaps = steps[steps > MAX_GAP_NS]
        self._gaps += len(gaps)
        self._gaps_ns += int(gaps.sum())
        self._longest_ns = max(self._longest_ns, int(gaps.max(initial=0)))
        short = steps[(steps >= 0) & (steps <= MAX_GAP_NS) & ~(same & alike)] / NS_PER_S
        self._steps += len(short)
        self._sum_s += float(short.sum())
        self._squares_s2 += float((short**2).sum())

    def _add_seconds(self, t: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Keep a row for each second: its number, count, mean x y z, mean square, norms."""
        good = np.isfinite(values).all(axis=1)
        second, values = (t // NS_PER_S)[good], values[good]
        if not len(second):
            return
        starts = np.append(0, np.flatnonzero(np.diff(second)) + 1)
        n = np.diff(np.append(starts, len(second)))[:, None]
        norm = np.linalg.norm(values, axis=1)
        row = np.column_stack(
            [
                second[starts],
                n,
                np.add.reduceat(values, starts) / n,
                (np.add.reduceat(norm**2, starts)[:, None] / n),
                np.minimum.reduceat(norm, starts),
                np.add.reduceat(norm, starts)[:, None] / n,
                np.maximum.reduceat(norm, starts),
            ]
        )
        self._new.append(row)
        if sum(map(len, self._new)) > MAX_ROWS // 8:
            self._settle()

    def _settle(self) -> None:
        self._rows = np.concatenate([self._rows, *self._new])
        self._new = []
        while len(self._rows) > MAX_ROWS:
            self._rows = self._rows[::2]

    def report(self, sensor: Sensor) -> SensorReport:
        assert self.declared is not None
        self._settle()
        rows = self._rows[self._rows[:, 1] >= _FEWEST]
        rows = rows if len(rows) else self._rows
        mean = np.linalg.norm(rows[:, 2:5], axis=1)
        spread = np.sqrt(np.maximum(rows[:, 5] - mean**2, 0))
        still = (spread < _STILL * mean) & (sensor != "gyro")
        resting = mean[still]
        usual = rows[:, 7] if sensor == "gyro" else mean
        step_s = self._sum_s / self._steps if self._steps else 0.0
        span_s = (self.last_ns - self.first_ns) / NS_PER_S
        slow_hz = (self.n - 1) / span_s if span_s > 0 else 0.0
        variance = self._squares_s2 / self._steps - step_s**2 if self._steps else 0.0
        seconds = self._rows[:, [0, 6, 7, 8]]
        seconds[:, 0] -= self.first_ns // NS_PER_S
        return SensorReport(
            sensor=sensor,
            declared=self.declared,
            samples=self.n,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            rate_hz=round(1 / step_s if step_s else slow_hz, 3),
            jitter_ms=round(max(variance, 0.0) ** 0.5 * 1000, 3),
            gaps=self._gaps,
            gaps_s=self._gaps_ns / NS_PER_S,
            longest_gap_s=self._longest_ns / NS_PER_S,
            duplicates=self.duplicates,
            repeated_stamps=self.repeated,
            backwards=self.backwards,
            resting_s=round(float(rows[still, 1].sum()) * step_s),
            resting_norm=round(float(np.median(resting)), 4) if len(resting) else None,
            usual_norm=round(float(np.median(usual)), 4) if len(usual) else 0.0,
            seconds=seconds,
        )


def _judged(sensors: Mapping[Sensor, SensorReport]) -> tuple[Gravity, list[Finding]]:
    """Return where gravity is, and what contradicts what was declared."""
    findings = []
    gravity: Gravity = "no accelerometer"
    if "accel" in sensors or "gravity" in sensors:
        report = sensors.get("accel") or sensors["gravity"]
        gravity, contradictions = _gravity(report)
        findings += contradictions
    elif "linear_accel" in sensors:
        gravity = "removed"
        findings.append(Finding("gravity is removed and does not come beside"))
    else:
        findings.append(Finding("there is no accelerometer"))
    if any(one.declared.sign is None for one in sensors.values()):
        said = "nothing says whether the signs are those of iOS or of Android"
        findings.append(Finding(said, "platform", "ios|android"))
    if "gyro" in sensors:
        findings += _turning(sensors["gyro"])
    return gravity, findings


def _gravity(report: SensorReport) -> tuple[Gravity, list[Finding]]:
    """Judge by the length of what is felt at rest, or of the mean vector where there is no rest."""
    unit, resting = report.declared.unit, report.resting_norm is not None
    norm = report.usual_norm if report.resting_norm is None else report.resting_norm
    seen = f"{report.sensor} reads {norm:.3g} {unit} {'at rest' if resting else 'in the mean'}: "
    steady = norm * _SI[unit]
    there: Gravity = "included" if report.sensor == "accel" else "beside"
    if 6 <= steady <= 14:
        return there, []
    if unit == "m/s2" and 0.6 <= steady <= 1.4 and resting:
        return there, [Finding(f"{seen}it is likely in g", "accel_unit", "g")]
    if unit == "g" and 60 <= steady <= 140:
        return there, [Finding(f"{seen}it is likely in m/s2", "accel_unit", "m/s2")]
    if steady < 3:
        return "removed", [Finding(f"{seen}gravity is removed, or the unit is wrong")]
    return "unclear", [Finding(f"{seen}that is not gravity")]


def _turning(gyro: SensorReport) -> list[Finding]:
    """Return what contradicts the gyroscope's unit."""
    unit = gyro.declared.unit
    if gyro.usual_norm * _SI[unit] <= MAX_TURN_RAD_S:
        return []
    seen = f"gyro usually reads {gyro.usual_norm:.3g} {unit}, faster than anything worn turns: "
    return [Finding(f"{seen}it is likely in deg/s", "gyro_unit", "deg/s")]


def described(inspection: Inspection) -> str:
    """Return an inspection as text for people."""
    return "\n\n".join("\n".join(_stream_lines(report)) for report in inspection.streams)


def _stream_lines(report: StreamReport) -> list[str]:
    lines = [f"stream {report.stream}"]
    for one in report.sensors:
        lines += _sensor_lines(one)
    sign = {1: "+1 (Android: up reads +9.81)", -1: "-1 (iOS: up reads -9.81)", None: "unknown"}
    lines += [f"  gravity   {report.gravity}", f"  sign      {sign[report.sign]}"]
    lines += [f"  finding   {finding.text}" for finding in report.findings]
    if report.labels:
        told = ", ".join(f"{label} {s:.1f} s" for label, s in report.labels.items())
        lines.append(f"  labels    {told}")
    for fit in report.fits:
        lines.append(f"  {fit.model:9} {fit.usable_s:.1f} s usable")
        if not fit.stretches:
            lines.append("            too short to be checked")
        lines += [
            f"            from {_moment(s.t_ns, report)} {s.status}"
            + (f": {s.reason}" if s.reason else "")
            for s in fit.stretches[:_MOST_LINES]
        ]
        if len(fit.stretches) > _MOST_LINES:
            lines.append(f"            and {len(fit.stretches) - _MOST_LINES} verdicts more")
    return lines


_MOST_LINES = 12


def _sensor_lines(one: SensorReport) -> list[str]:
    rest = "never at rest"
    if one.sensor == "gyro":
        rest = f"usually {one.usual_norm:.3g}"
    elif one.resting_norm is not None:
        rest = f"{one.resting_norm:.3g} at rest ({one.resting_s} s)"
    stated = f", {one.declared.rate_hz:g} stated" if one.declared.rate_hz is not None else ""
    begin = one.first_ns / NS_PER_S
    when = rfc3339(one.first_ns) if one.declared.clock == "epoch" else f"{begin:.3f} s"
    lines = [
        f"  {one.sensor:12} {one.samples} samples over {one.duration_s:.1f} s from {when}",
        f"    rate      {one.rate_hz:.4g} Hz{stated}, jitter {one.jitter_ms:.3g} ms",
        f"    unit      {one.declared.unit}; {rest}",
    ]
    faults = {
        f"{one.gaps} gaps ({one.gaps_s:.1f} s, longest {one.longest_gap_s:.1f} s)": one.gaps,
        f"{one.duplicates} duplicates": one.duplicates,
        f"{one.repeated_stamps} repeated stamps": one.repeated_stamps,
        f"{one.backwards} backwards": one.backwards,
    }
    found = [text for text, n in faults.items() if n]
    return [*lines, *([f"    stamps    {', '.join(found)}"] if found else [])]


def _moment(t_ns: int, report: StreamReport) -> str:
    if report.sensors[0].declared.clock == "epoch":
        return rfc3339(t_ns)
    return f"{t_ns / NS_PER_S:.1f} s"


def figure(inspection: Inspection) -> Any:
    """Return a matplotlib figure of each sensor's norm; raises ImportError without matplotlib."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    streams = inspection.streams[:_MOST_PLOTTED]
    n = sum(len(report.sensors) for report in streams)
    drawing = Figure(figsize=(14, 2.5 * max(n, 1)), layout="constrained")
    axes = iter(drawing.subplots(max(n, 1), 1, squeeze=False)[:, 0])
    for report in streams:
        for one, axis in zip(report.sensors, axes, strict=False):
            t, low, mean, high = one.seconds.T
            axis.fill_between(t, low, high, alpha=0.4, step="mid")
            axis.plot(t, mean, linewidth=0.8)
            axis.set_title(
                f"{report.stream}: {one.sensor}, {one.declared.unit}, norm in each second",
                loc="left",
            )
            axis.set_xlabel("seconds since the first sample")
    return drawing


_MOST_PLOTTED = 12
