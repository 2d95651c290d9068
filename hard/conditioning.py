"""Raw samples of one stream to the model's grid: units, sign, checks, gaps, resampling.

Pure, in data time, called by the pipeline (and by training, with the very same code).  What comes
out depends on the samples and their order of arrival, not on how they were cut into batches:

    clock    `hard.clock`: another machine's time becomes time since the epoch
    scale    to m/s² and rad/s in the Android frame; what is not finite is dropped and counted
    order    `hard.ordering`: final samples, sorted, or the end of a segment
    check    each 3 s against what was declared: nothing is used before the first that agree, nor
             after two in a row that do not, nor after a unit or a scale was found wrong until what
             showed it shows the contrary; a rate that no stamp can prove, against the motion; one
             that changes is measured anew
    bridge   gaps up to 0.2 s are filled; longer ones end a run
    grid     resampled values at k * period since the epoch, each with "valid" and "covered"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hard.api import NS_PER_S, STANDARD_GRAVITY_M_S2, SampleBatch, Sensor, Unit
from hard.cadence import SENSORS, StatedRate
from hard.clock import DeviceClock
from hard.ordering import MAX_GAP_NS, Orderer, Samples, Settled
from hard.resampling import HALF_WIDTH_PERIODS, Taps, taps_for

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hard.card import ModelInput

__all__ = [
    "CHECK_NS",
    "DEVICE_AXES",
    "NO_GYROSCOPE",
    "Axes",
    "Conditioned",
    "Conditioner",
    "GridBlock",
    "SegmentEnd",
    "Verdict",
    "turn_of",
]

CHECK_NS = 3 * NS_PER_S
"""How much of a segment is looked at before any of it is used."""
MAX_VALUE = 1e4
"""No sensor reads more, in m/s² or rad/s."""
MAX_T_NS = 9_000_000_000 * NS_PER_S
"""No clock shows a later time (the year 2255); int64 ends a little after it."""
MAX_TURN_RAD_S = 15.0
"""Nothing worn turns faster for most of 3 s: running reaches 5."""
MAX_TURN_AT_REST_RAD_S, REST_M_S2 = 0.5, 0.4
"""Standard deviations over 3 s: while the acceleration's is below the latter, a worn device's
angular rate was never above 0.46 in 27 h of MotionSense and HAPT."""
MAX_GRAVITY_ERROR = 0.15
"""An accelerometer at rest is off by no more, even a cheap one that nobody calibrated."""
MIN_STEADY_M_S2 = 4.0
"""The mean acceleration over 3 s of a worn device was never below 4.1 in the same 27 h."""
_MOST = 30.0
_MOVES_M_S2 = 1.0  # as walking does
_GRID_POINTS_AT_ONCE = 16384
REGRESSED_NS = NS_PER_S // 4
"""Jittering stamps are regressed over so much on either side."""
_MAX_JITTER = 0.05
_FIGURE = re.compile(r"\d[\d.e+-]*")  # one that wanders makes no other reason
_STATED_TOLERANCE = 1.25  # what phones call 50 Hz comes at 42 to 60
_RATE_TOLERANCE = 0.95  # a nominal 20 Hz that is measured as 19.6 passes for 20
_ANOTHER_RATE = 1.5  # times the one that was measured: it was set anew
_UNEVEN = 0.25  # share of the samples that may be too few or too many for it

_SCALE: dict[Unit, float] = {
    "m/s2": 1.0,
    "g": STANDARD_GRAVITY_M_S2,
    "rad/s": 1.0,
    "deg/s": float(np.pi / 180),
}


@dataclass(frozen=True, slots=True, eq=False)
class GridBlock:
    """Consecutive grid points of one segment: point i lies at (k0 + i) * period_ns.

    `values` is float32[n, channels]; `valid[i]` says that it may be used at all, `covered[i]` that
    every sensor has a raw sample within one input period of it.
    """

    segment: int
    k0: int
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    covered: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check of the signal found at data time `t`; given only when it changes."""

    status: Literal["ok", "rejected"]
    t: int
    segment: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The segment's data reached data time `t`; what follows belongs to another clock."""

    t: int


Conditioned: TypeAlias = GridBlock | Verdict | SegmentEnd
Axes: TypeAlias = tuple[str, str, str]
"""The device's axes that lie along the x, y and z of the frame wanted, such as ("y", "-x", "z")."""
DEVICE_AXES: Axes = ("x", "y", "z")


def turn_of(axes: Axes) -> tuple[list[int], NDArray[np.float64]]:
    """Return columns and signs that turn samples; raise ValueError for what is no rotation."""
    columns = ["xyz".find(axis.removeprefix("-")) for axis in axes]
    signs = np.array([-1.0 if axis.startswith("-") else 1.0 for axis in axes])
    if sorted(columns) != [0, 1, 2] or any(len(axis.removeprefix("-")) != 1 for axis in axes):
        raise ValueError(f"axes {list(axes)}: name x, y and z once each, maybe with a minus")
    if np.linalg.det(np.eye(3)[columns] * signs[:, None]) < 0:
        raise ValueError(f"axes {list(axes)}: that is a mirror, no way to mount a device")
    return columns, signs


class Conditioner:
    """The state of one stream on its way to one model's grid."""

    def __init__(self, wanted: ModelInput, counts: Counter[str], axes: Axes = DEVICE_AXES) -> None:
        """Count in `counts` what is dropped, by reason; `axes` says how the device is mounted."""
        self._wanted = wanted
        self._counts = counts
        self._turn = None if axes == DEVICE_AXES else turn_of(axes)
        self._clock = DeviceClock(counts)
        self._orderer = Orderer(counts)
        self.segment = 0
        self._cause: str | None = None  # of the last verdict
        self._doubt: str | None = None  # what the last 3 s that were checked were found to be
        self._sign_known: dict[Sensor, bool] = {}
        self._stated_hz: dict[Sensor, float] = {}
        self._counted_hz: dict[Sensor, float] = {}  # the rate that a sensor's stamps were made from
        self._motion: StatedRate | None = None  # what weighs that rate, in this segment
        self._wrong_rate: str | None = None  # what it found
        self._gyro_unit: Unit | None = None  # as declared
        self._suspicion: _Suspicion | None = None
        self._redeclared_ns = 0  # a tile that begins earlier tells nothing of the new unit
        self._unuse()

    def _unuse(self) -> None:
        """Use nothing until 3 s agree with what was declared."""
        self._tracks: dict[Sensor, _Track] = {}
        self._used: list[tuple[Sensor, ...]] = []  # the sensors behind each triple of channels
        self._next_k: int | None = None
        self._watch: _Watch | None = None

    @property
    def reached_ns(self) -> int | None:
        """Every window that ends at or before this data time has left; None before the first."""
        return None if self._next_k is None else self._next_k * self._wanted.period_ns

    def feed(self, batches: Sequence[SampleBatch]) -> Iterator[Conditioned]:
        """Take what arrived together; yield what became final on the grid."""
        for message in self._clock.feed(batches):
            yield from self._feed(message)
        if self._clock.conflict:
            yield from self._refuse_two_clocks(batches)

    def _feed(self, batches: Sequence[SampleBatch]) -> Iterator[Conditioned]:
        message, max_delay_s = [], 0.0
        for batch in batches:
            max_delay_s = max(max_delay_s, batch.declared.max_delay_s)
            samples = self._scaled(batch)
            if len(samples.t):
                message.append(samples)
                if batch.sensor == "gyro" and batch.declared.unit != self._gyro_unit:
                    self._redeclare(batch.declared.unit, int(samples.t[0]))
        if self._cause == _TWO_CLOCKS and self._clock.conflict:
            self._counts["two_clocks"] += sum(len(samples.t) for samples in message)
            return
        for settled in self._orderer.feed(message, int(max_delay_s * NS_PER_S)):
            yield from self._take(settled)

    def _redeclare(self, unit: Unit, t: int) -> None:
        """Take the gyroscope's unit from data time `t` on: what was held against it is settled."""
        if self._gyro_unit is not None:
            self._suspicion, self._redeclared_ns = None, t
        self._gyro_unit = unit

    def _refuse_two_clocks(self, batches: Sequence[SampleBatch]) -> Iterator[Conditioned]:
        if self._cause != _TWO_CLOCKS:
            yield from self.flush()
            self._cause = _TWO_CLOCKS
            now = max(batch.t_received_ns or 0 for batch in batches)
            yield Verdict("rejected", now, self.segment, _TWO_CLOCKS)

    def drain(self) -> Iterator[Conditioned]:
        """Yield all that can be had without further samples: the source fell silent."""
        for message in self._clock.drain():
            yield from self._feed(message)
        settled = self._orderer.drain()
        if settled is not None:
            yield from self._take(settled, silent=True)

    def flush(self) -> Iterator[Conditioned]:
        """Yield the rest and begin a new segment: the data end, or another recording follows."""
        for message in self._clock.drain():
            yield from self._feed(message)
        self._orderer.drop_held()
        yield from self._take(self._orderer.flush())

    def _scaled(self, batch: SampleBatch) -> Samples:
        """Convert to internal units and frame; drop and count what no sensor can read."""
        scale = _SCALE[batch.declared.unit]
        if batch.declared.rate_hz is not None:
            self._stated_hz[batch.sensor] = batch.declared.rate_hz
        if batch.declared.counted and batch.declared.rate_hz is not None:
            self._counted_hz[batch.sensor] = batch.declared.rate_hz
        else:
            self._counted_hz.pop(batch.sensor, None)
        if batch.sensor != "gyro":
            self._sign_known[batch.sensor] = batch.declared.sign is not None
            scale *= batch.declared.sign or 1
        t, x = batch.t, batch.values.astype(np.float64)
        if scale != 1.0:
            x *= scale
        if self._turn is not None:
            x = x[:, self._turn[0]] * self._turn[1]
        number = -1 if batch.message_id is None else min(max(batch.message_id, -1), 2**62)
        samples = Samples(batch.sensor, t, x, number)
        if not len(t):
            return samples
        low, high = x.min(), x.max()
        if low >= -MAX_VALUE and high <= MAX_VALUE and t.min() >= 0 and t.max() <= MAX_T_NS:
            return samples
        with np.errstate(invalid="ignore"):
            good = (np.abs(x) <= MAX_VALUE).all(axis=1) & (t >= 0) & (t <= MAX_T_NS)
        finite = np.isfinite(x).all(axis=1)
        self._counts["not_finite"] += int((~finite).sum())
        self._counts["out_of_range"] += int((finite & ~good).sum())
        return samples.part(good)

    def _take(self, settled: Settled, *, silent: bool = False) -> Iterator[Conditioned]:
        ends = settled.ends_segment or silent
        rest: Settled | None = settled
        while rest is not None:
            if self._watch is None:
                rest = yield from self._try(rest, ends=ends)
            else:
                rest = yield from self._use(rest, self._watch, ends=ends)
        if settled.ends_segment:
            if self.reached_ns is not None:
                yield SegmentEnd(self.reached_ns)
            if self._tracks:
                self.segment += 1
            self._motion = self._wrong_rate = self._suspicion = None
            self._redeclared_ns = 0
            self._unuse()

    def _try(self, settled: Settled, *, ends: bool) -> Generator[Conditioned, None, Settled | None]:
        """Collect 3 s and check them; return what comes behind, None where nothing does."""
        end = self._tile_end(settled, ends=ends)
        head, rest = _split(settled, end)
        for samples in head.samples:
            self._tracks.setdefault(samples.sensor, _Track()).append(samples)
        if end is not None:
            yield from self._check(end, head.until)
        return rest

    def _use(
        self, settled: Settled, watch: _Watch, *, ends: bool
    ) -> Generator[Conditioned, None, Settled | None]:
        """Put samples on the grid up to a contradiction or another rate; return what follows."""
        end, reason = watch.find(settled) or (None, None)
        head, rest = _split(settled, end)
        if contradiction := self._weighed(head):
            end, reason = contradiction
            head, rest = _split(settled, end)
        for samples in head.samples:
            if samples.sensor in self._tracks:
                self._tracks[samples.sensor].append(samples)
        yield from self._grid(head.until, ends=ends or end is not None)
        if end is not None:
            self._unuse()
            if reason is None:
                self._counts["rate_change"] += 1
            else:
                yield from self._say(reason, head.until)
        return rest

    def _weighed(self, settled: Settled) -> tuple[int, str] | None:
        """Weigh a rate that stamps were made from; what contradicts it holds for the segment."""
        rate_hz = self._counted_hz.get("accel")
        if self._motion is None or rate_hz is None:
            return None
        weighed = {sensor for sensor in SENSORS if self._counted_hz.get(sensor) == rate_hz}
        samples = {s.sensor: (s.t, s.x) for s in settled.samples if s.sensor in weighed}
        found = self._motion.find(samples, settled.until)
        if found:
            self._wrong_rate = found[1]
        return found

    def _tile_end(self, settled: Settled, *, ends: bool) -> int | None:
        """Return the end of the next 3 s to check, None while they are not complete."""
        firsts = [int(t.t[0]) for t in self._tracks.values() if len(t.t)]
        firsts += [int(samples.t[0]) for samples in settled.samples if len(samples.t)]
        if not firsts or not (ends or settled.until >= min(firsts) + CHECK_NS):
            return None
        return min(firsts) + CHECK_NS

    def _check(self, end: int, now: int) -> Iterator[Verdict]:
        """Compare the samples before `end` with the contract: use the sensors or drop the tile."""
        tile = {}
        for sensor, track in self._tracks.items():
            n = int(np.searchsorted(track.t, end))
            if n:
                tile[sensor] = Samples(sensor, track.t[:n], track.x[:n])
        reason, used = (self._wrong_rate, []) if self._wrong_rate else self._judge(tile)
        if self._suspicion is not None:
            reason = self._suspicion.weigh(reason, tile)
        if reason is None:
            self._used = used
            self._tracks = {s: self._tracks[s] for group in used for s in group}
            for sensor, track in self._tracks.items():
                track.measure(tile[sensor].t, self._wanted.period_ns)
            first_ns = max(int(track.t[0]) for track in self._tracks.values())
            self._next_k = -(-first_ns // self._wanted.period_ns)
            rates_hz = {sensor: _rate_hz(tile[sensor].t) for sensor in self._tracks}
            self._watch = _Watch(rates_hz, end, self._wanted.min_rate_hz, self._judge)
            if self._motion is None and "accel" in self._counted_hz:
                self._motion = StatedRate(self._counted_hz["accel"], end)
        else:
            for sensor, samples in tile.items():
                self._counts["rejected"] += len(samples.t)
                self._tracks[sensor].drop(len(samples.t))
        once = reason in _TO_BE_SEEN_TWICE and reason != self._doubt
        self._doubt = reason
        if not once:
            yield from self._say(reason, now)

    def _say(self, reason: str | None, now: int) -> Iterator[Verdict]:
        """Yield a verdict if it is another one than the last."""
        if reason is None:
            self._suspicion = None
        elif now >= self._redeclared_ns + CHECK_NS and (
            self._suspicion is None or reason != self._suspicion.reason
        ):
            self._suspicion = _suspicion(reason) or self._suspicion
        cause = "ok" if reason is None else _FIGURE.sub("", reason)
        if cause != self._cause:
            self._cause = cause
            yield Verdict("ok" if reason is None else "rejected", now, self.segment, reason)

    def _judge(self, tile: dict[Sensor, Samples]) -> tuple[str | None, list[tuple[Sensor, ...]]]:
        """Return why the samples can't be what the model needs (None: they can), and which."""
        if "accel" not in tile and "linear_accel" not in tile:
            return "no accelerometer: the model needs one", []
        used: list[tuple[Sensor, ...]] = [
            ("accel",) if "accel" in tile else ("linear_accel", "gravity")
        ]
        if self._wanted.uses_gyro:
            used.append(("gyro",))
        sensors = [sensor for group in used for sensor in group]
        for sensor in sensors:
            if sensor not in tile:
                return _MISSING[sensor], used
            if reason := self._judge_stamps(sensor, tile[sensor].t):
                return reason, used
        if not all(self._sign_known.get(sensor, True) for sensor in sensors):
            return _SIGN_UNKNOWN, used
        felt = tile["accel" if "accel" in tile else "linear_accel"].x
        reason = _judge_gravity(felt if "accel" in tile else tile["gravity"].x)
        if reason is None and "gyro" in sensors:
            reason = _judge_turning(tile["gyro"].x, felt)
            total: Sensor = "accel" if "accel" in tile else "gravity"
            if reason is None and _lags(tile["gyro"], tile[total]):
                reason = _GYRO_LAGS[self._gyro_unit or "rad/s"]
        return reason, used

    def _judge_stamps(self, sensor: Sensor, t: NDArray[np.int64]) -> str | None:
        """Return what is wrong with a sensor's rate, as stated or as measured."""
        rate_hz = _rate_hz(t)
        if rate_hz < self._wanted.min_rate_hz * _RATE_TOLERANCE:
            return (
                f"{sensor} comes at {rate_hz:.1f} Hz, the model needs at least "
                f"{self._wanted.min_rate_hz:g} Hz: raise the sender's sampling rate, or correct it "
                "where it is stated (rate_hz, --rate)"
            )
        stated_hz = self._stated_hz.get(sensor, rate_hz)
        if not 1 / _STATED_TOLERANCE <= rate_hz / stated_hz <= _STATED_TOLERANCE:
            return (
                f"wrong rate: {sensor} is stated to come at {stated_hz:g} Hz, its stamps say "
                f"{rate_hz:.1f} Hz; correct whichever is wrong"
            )
        return _GAPS if _is_mostly_gaps(t) else None

    def _grid(self, until: int, *, ends: bool) -> Iterator[GridBlock]:
        """Yield the grid points whose whole support is known."""
        period_ns = self._wanted.period_ns
        assert self._next_k is not None
        groups = [[self._tracks[s] for s in group] for group in self._used]
        ready_ns = min(t.advance(until, ends=ends) for group in groups for t in group)
        stop_k = ready_ns // period_ns + 1
        while self._next_k < stop_k:
            k0, k1 = self._next_k, min(stop_k, self._next_k + _GRID_POINTS_AT_ONCE)
            grid = np.arange(k0, k1, dtype=np.int64) * period_ns
            values = np.empty((k1 - k0, 3 * len(groups)), np.float32)
            valid, covered = np.ones(k1 - k0, bool), np.ones(k1 - k0, bool)
            shared = _SharedTaps()
            for i, group in enumerate(groups):
                parts = []
                for track in group:
                    part, its_valid, its_covered = track.at(grid, shared)
                    parts.append(part)
                    valid &= its_valid
                    covered &= its_covered
                values[:, 3 * i : 3 * i + 3] = parts[0] if len(parts) == 1 else parts[0] + parts[1]
            self._next_k = k1
            for track in (t for group in groups for t in group):
                track.forget(k1 * period_ns)
            yield GridBlock(self.segment, k0, values, valid, covered)


_NO_GRAVITY = (
    "gravity removed: linear acceleration alone can't tell sitting from standing; send total "
    "acceleration, or gravity beside it"
)
NO_GYROSCOPE = "no gyroscope: this model needs one; switch it on at the sender"
_MISSING: dict[Sensor, str] = {
    "gravity": _NO_GRAVITY,
    "gyro": NO_GYROSCOPE,
}
_GYRO_UNIT = (
    "wrong unit: the gyroscope turns faster than anything worn does: the data are likely in "
    "degrees per second; declare that (gyro_unit, --gyro-unit)"
)
_TWO_CLOCKS = (
    "two clocks on one stream: its stamps jump back and forth, as if two devices sent under one "
    "name; give each device a topic or name of its own"
)
_NO_GRAVITY_IN_MOTION = (
    "gravity removed: over 3 s the acceleration averages out to nearly nothing; send total "
    "acceleration, or gravity beside it"
)
_GYRO_UNIT_AT_REST = (
    "wrong unit: the gyroscope turns to and fro while the accelerometer rests: the data are likely "
    "in degrees per second; declare that (gyro_unit, --gyro-unit)"
)
_GYRO_UNITS = {_GYRO_UNIT, _GYRO_UNIT_AT_REST}
_LAGS = "gravity, as the device sees it, turns much further than the gyroscope does: "
_GYRO_LAGS = {
    "deg/s": f"wrong unit: {_LAGS}the data are likely in radians per second; declare that "
    "(gyro_unit, --gyro-unit)",
    "rad/s": f"stuck: {_LAGS}restart the sender, and if it stays so the gyroscope is broken, or "
    "its scale is wrong (gyro_scale)",
}
"""By the unit that is declared."""
_MIN_TURN_RAD, _MAX_SHARE_TURNED = np.radians(45), 0.2
"""Gravity can't turn further than the device: the least that a right gyroscope turned with it, in
584 recordings, was 0.97 times as far (`tests/figures/gyro_unit.py`)."""
_MIN_TURNED_M_S2 = 2.0  # standard deviation: that of such a turn within 3 s is 2.9 and more
_MAX_LAGGING_RAD_S = 2 * _SCALE["deg/s"] * MAX_TURN_RAD_S  # root mean square
_TURNS_RAD_S = _MAX_LAGGING_RAD_S / 2  # 57 times of it nothing worn turns
_MAX_NORM_OFF = 0.04
"""Of one second's mean: who brakes or takes a bend feels more, or gravity turn by 32° at most."""
_WRONG_SCALE = "wrong scale: "
_CORRECT_SCALE = "correct the factor to the range that the accelerometer is set to (accel_scale)"
_TUMBLES = 0.3
"""How much the norm may vary, of itself, while gravity turns; that of bare motion varies by 0.4."""
_GAPS = (
    "gaps: most of the time there is no sample within 0.2 s: messages are lost, or stamps are too "
    "coarse; send each sample's own time, in ms or finer"
)
_STUCK = (
    "stuck: the accelerometer repeats one reading that can't be right; restart the sender, and if "
    "it stays so the sensor is broken"
)
_TO_BE_SEEN_TWICE = (
    _NO_GRAVITY_IN_MOTION,
    _GYRO_UNIT_AT_REST,
    _GAPS,
    _STUCK,
    *_GYRO_LAGS.values(),
)
_SIGN_UNKNOWN = (
    "sign unknown: iOS and Android report opposite signs and the data do not say which; "
    'set platform = "ios" or platform = "android" for this source'
)


class _Suspicion:
    """A unit or a scale was found wrong that only some tiles can tell: it stays so until refuted.

    A gyroscope in deg/s passes for one in rad/s while its wearer hardly turns, so only 30 s of
    motion that all agree refute it; a wrong scale shows at rest, so a rest of 3 s with gravity
    does; one that does not follow gravity is refuted by 3 s of turning.
    """

    def __init__(self, reason: str, tiles: int, *, at_rest: bool) -> None:
        self.reason = reason
        self._tiles, self._at_rest = tiles, at_rest
        self._agreed = 0

    def _agrees(self, tile: dict[Sensor, Samples]) -> bool:
        """Tell whether a tile that `_judge` has nothing against speaks for what is declared."""
        if self.reason in _GYRO_LAGS.values():
            return float(np.median(np.linalg.norm(tile["gyro"].x, axis=1))) > _TURNS_RAD_S
        felt = tile["accel" if "accel" in tile else "linear_accel"].x
        spread: float = float(felt.var(axis=0).sum()) ** 0.5
        return spread < REST_M_S2 if self._at_rest else spread > _MOVES_M_S2

    def weigh(self, reason: str | None, tile: dict[Sensor, Samples]) -> str | None:
        """Return what is wrong with a tile of which `_judge` said `reason`, None once refuted."""
        if reason is not None:
            self._agreed = 0
            return self.reason if {reason, self.reason} <= _GYRO_UNITS else reason
        self._agreed += self._agrees(tile)
        return None if self._agreed >= self._tiles else self.reason


def _suspicion(reason: str) -> _Suspicion | None:
    if reason in _GYRO_UNITS:
        return _Suspicion(reason, 10, at_rest=False)
    if reason in _GYRO_LAGS.values():
        return _Suspicion(reason, 1, at_rest=False)
    return _Suspicion(reason, 1, at_rest=True) if reason.startswith(_WRONG_SCALE) else None


def _sums(rows: NDArray[np.float64], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sums of rows [n, ...] from each edge to the next, 0 where there are none."""
    begins, some = edges[:-1], np.diff(edges) > 0
    sums = np.zeros((len(begins), *rows.shape[1:]))
    if some.any():
        sums[some] = np.add.reduceat(rows[: edges[-1]], begins[some])
    return sums


def _rate_hz(t: NDArray[np.int64]) -> float:
    """Return the sampling rate, 0 for fewer than two samples.

    The median spacing does not mind gaps; where samples come in bursts it is far below the mean
    one, which then is the truth.
    """
    if len(t) < 2:
        return 0.0
    steps = np.diff(t)
    period_ns = float(np.median(steps))
    short = steps[steps <= MAX_GAP_NS]
    if len(short) and period_ns < 0.5 * short.mean():
        period_ns = float(short.mean())
    return NS_PER_S / max(period_ns, 1.0)


def _is_mostly_gaps(t: NDArray[np.int64]) -> bool:
    """Tell whether gaps, and not only one, are over half of 3 s."""
    steps = np.diff(t)
    gaps = steps[steps > MAX_GAP_NS]
    return len(gaps) > 1 and int(gaps.sum()) > CHECK_NS // 2


def _judge_turning(x: NDArray[np.float64], felt: NDArray[np.float64]) -> str | None:
    """Return what is wrong with angular rates float64[n, 3] that should be in rad/s.

    `felt` float64[m, 3] is the acceleration meanwhile: at rest nothing turns back and forth.
    """
    turning = float(np.median(np.linalg.norm(x, axis=1)))
    if turning > MAX_TURN_RAD_S:
        return _GYRO_UNIT
    at_rest = float(felt.var(axis=0).sum()) < REST_M_S2**2
    restless = float(x.var(axis=0).sum()) > MAX_TURN_AT_REST_RAD_S**2
    if not (at_rest and restless):
        return None
    return _STUCK if (felt == felt[0]).all() else _GYRO_UNIT_AT_REST


def _lags(gyro: Samples, total: Samples) -> bool:
    """Tell whether a gyroscope stays behind when gravity, as the device sees it, turns.

    Angular rates in rad/s, total acceleration or gravity in m/s²: from the mean of its first second
    to that of its last.  Noise only lengthens the gyroscope's way, taken over all of the time so
    that stamps which are off by half a second don't matter.
    """
    begin, end = max(gyro.t[0], total.t[0]), min(gyro.t[-1], total.t[-1])
    if end - begin < CHECK_NS // 2 or (np.diff(gyro.t) > MAX_GAP_NS).any():
        return False
    if (gyro.x * gyro.x).sum(axis=1).mean() > _MAX_LAGGING_RAD_S**2:
        return False
    a, b = np.searchsorted(total.t, (begin + NS_PER_S, end - NS_PER_S)).tolist()
    first, last = total.x[:a].mean(axis=0), total.x[b:].mean(axis=0)
    norms = np.linalg.norm([first, last], axis=1)
    if (np.abs(norms / STANDARD_GRAVITY_M_S2 - 1) > _MAX_NORM_OFF).any():
        return False
    angle = np.arccos(np.clip(first @ last / norms.prod(), -1, 1))
    way = np.linalg.norm(gyro.x, axis=1).mean() * (end - begin) / NS_PER_S
    return bool(angle > _MIN_TURN_RAD and way < _MAX_SHARE_TURNED * angle)


def _judge_gravity(x: NDArray[np.float64]) -> str | None:
    """Return what is wrong with total acceleration float64[n, 3] that should be in m/s².

    Over 3 s the mean vector of a worn device is about gravity, at rest and in motion; only a
    tumbling one has a small mean, beside a norm that stays near 9.8.
    """
    mean = float(np.linalg.norm(x.mean(axis=0)))
    norms = np.linalg.norm(x, axis=1)
    norm = float(np.median(norms))
    found = f"the resting norm is {norm:.3g} m/s² where gravity is 9.81"
    likely = None
    if mean > _MOST or norm > _MOST:
        likely = "m/s² declared as g; correct"
    elif 0.6 <= mean <= 1.4 and norm <= 3:
        likely = "in g; declare"
    if likely is not None:
        return f"wrong unit: {found}: the data are likely {likely} that (accel_unit, --accel-unit)"
    if mean < MIN_STEADY_M_S2 and norm < 6:
        return f"{found}: {_NO_GRAVITY}"
    if mean < MIN_STEADY_M_S2 and not (norm < 13 and norms.std() < _TUMBLES * norm):
        return _NO_GRAVITY_IN_MOTION
    at_rest = float(x.var(axis=0).sum()) < REST_M_S2**2
    if at_rest and abs(mean / STANDARD_GRAVITY_M_S2 - 1) > MAX_GRAVITY_ERROR:
        return _STUCK if (x == x[0]).all() else f"{_WRONG_SCALE}{found}; {_CORRECT_SCALE}"
    return None


def _split(settled: Settled, at: int | None) -> tuple[Settled, Settled | None]:
    """Return what comes before `at` and what does not; all of it and nothing for None."""
    if at is None:
        return settled, None
    cuts = [(s, int(np.searchsorted(s.t, at))) for s in settled.samples]
    before = [s.part(slice(n)) for s, n in cuts if n]
    after = [s.part(slice(n, None)) for s, n in cuts if n < len(s.t)]
    return Settled(before, min(at, settled.until)), Settled(after, settled.until)


class _Watch:
    """Goes on comparing the sensors in use with the contract, each 3 s since the epoch.

    Two tiles in a row that contradict it are a contradiction: a fall or a tumble is shorter.  So
    are two of another sampling rate than that by which coverage and filters were chosen, and two in
    which the gyroscope stays behind gravity without one between in which it turns: one alone may be
    where a recording was cut and joined.
    """

    def __init__(
        self,
        rates_hz: Mapping[Sensor, float],
        begin: int,
        min_rate_hz: float,
        judge: Callable[[dict[Sensor, Samples]], tuple[str | None, list[tuple[Sensor, ...]]]],
    ) -> None:
        self._begin = -(-begin // CHECK_NS) * CHECK_NS  # of the first tile not yet judged
        self._pending = {s: Samples(s, np.empty(0, np.int64), np.empty((0, 3))) for s in rates_hz}
        self._rates_hz = rates_hz
        self._enough = 2 * min_rate_hz * CHECK_NS / NS_PER_S
        self._judge = judge
        self._bad: int | None = None  # where the last tile ended that contradicts
        self._lagged = False  # whether the gyroscope stayed behind, and has not turned since

    def find(self, settled: Settled) -> tuple[int, str | None] | None:
        """Return the end of the tile at which a contradiction is certain, and its reason.

        There is no reason where only the rate is another.
        """
        for new in settled.samples:
            if new.sensor in self._pending:
                old = self._pending[new.sensor]
                t, x = np.concatenate([old.t, new.t]), np.concatenate([old.x, new.x])
                begin = int(np.searchsorted(t, self._begin))
                self._pending[new.sensor] = Samples(new.sensor, t[begin:], x[begin:])
        tiles = (settled.until - self._begin) // CHECK_NS
        if tiles <= 0:
            return None
        begins = self._begin + CHECK_NS * np.arange(tiles + 1, dtype=np.int64)
        edges = {s: np.searchsorted(p.t, begins) for s, p in self._pending.items()}
        doubtful, turns = self._doubtful(edges)
        for i in np.flatnonzero(doubtful | turns).tolist():
            self._lagged &= not turns[i]
            if doubtful[i]:
                tile = {s: p.part(slice(*edges[s][i : i + 2])) for s, p in self._pending.items()}
                certain, reason = self._weigh(tile, int(begins[i]))
                if certain:
                    return int(begins[i + 1]), reason
        self._begin = int(begins[-1])
        for sensor, pending in self._pending.items():
            self._pending[sensor] = pending.part(slice(int(edges[sensor][-1]), None))
        return None

    def _weigh(self, tile: dict[Sensor, Samples], begin: int) -> tuple[bool, str | None]:
        """Tell whether a tile makes a contradiction certain, and its reason."""
        parts = {sensor: part for sensor, part in tile.items() if len(part.t)}
        if not parts:
            return False, None
        reason, _ = self._judge(parts)
        if reason is None and not any(self._is_of_another_rate(part) for part in tile.values()):
            return False, None
        if reason in _GYRO_LAGS.values():
            certain, self._lagged = self._lagged, True
        else:
            certain, self._bad = self._bad == begin, begin + CHECK_NS
        return certain, reason

    def _is_of_another_rate(self, part: Samples) -> bool:
        """Tell whether samples come evenly, and at a rate that is not the one measured before."""
        period_ns = float(np.median(np.diff(part.t))) if len(part.t) > 1 else CHECK_NS
        is_even = abs(len(part.t) * period_ns / CHECK_NS - 1) < _UNEVEN  # else some are lost
        times = NS_PER_S / period_ns / self._rates_hz[part.sensor]
        return is_even and not 1 / _ANOTHER_RATE <= times <= _ANOTHER_RATE

    def _doubtful(
        self, edges: dict[Sensor, NDArray[np.intp]]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Mark the tiles that need a closer look, the others can't contradict; and those that turn.

        In these the gyroscope turns by more than one of another unit could.
        """
        n = {sensor: np.diff(at) for sensor, at in edges.items()}
        # A median is at most √2 times the root mean square.
        rms = {
            sensor: np.sqrt(_sums((x * x).ravel(), 3 * at) / np.maximum(n[sensor], 1))
            for sensor, at in edges.items()
            for x in [self._pending[sensor].x]
        }
        fine = np.ones(len(next(iter(n.values()))), bool)
        turns = ~fine
        for sensor, counts in n.items():
            usual = self._rates_hz[sensor] * CHECK_NS / NS_PER_S
            fine &= (counts >= self._enough) & (counts > usual / _ANOTHER_RATE)
            fine &= counts < usual * _ANOTHER_RATE
        total: Sensor = "accel" if "accel" in n else "gravity"
        mean = _sums(self._pending[total].x, edges[total]) / np.maximum(n[total], 1)[:, None]
        steady = np.sqrt((mean * mean).sum(axis=1))
        fine &= (steady > 1.01 * MIN_STEADY_M_S2) & (rms[total] < 0.7 * _MOST)
        varies = rms[total] ** 2 - steady**2
        off = np.abs(steady / STANDARD_GRAVITY_M_S2 - 1) > 0.99 * MAX_GRAVITY_ERROR
        fine &= ~off | (varies > (1.01 * REST_M_S2) ** 2)
        if "gyro" in n:
            felt = varies if total == "accel" else rms["linear_accel"] ** 2
            moves = felt > (1.01 * REST_M_S2) ** 2
            fine &= (rms["gyro"] < 0.7 * MAX_TURN_RAD_S) & (
                moves | (rms["gyro"] < 0.99 * MAX_TURN_AT_REST_RAD_S)
            )
            fine &= (varies < _MIN_TURNED_M_S2**2) | (rms["gyro"] > 0.99 * _MAX_LAGGING_RAD_S)
            turns = rms["gyro"] > _MAX_LAGGING_RAD_S
        return ~fine, turns


class _SharedTaps:
    """Taps for one sensor after another: with the same stamps they are the same."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.int64], NDArray[np.int64], float, Taps] | None = None

    def taps(self, t: NDArray[np.int64], grid: NDArray[np.int64], filter_ns: float) -> Taps:
        """Return `taps_for` of the same arguments."""
        if self._last is not None:
            last_t, last_grid, last_filter_ns, taps = self._last
            same = filter_ns == last_filter_ns and np.array_equal(grid, last_grid)
            if same and np.array_equal(t, last_t):
                return taps
        taps = taps_for(t, grid, filter_ns)
        self._last = t, grid, filter_ns, taps
        return taps


class _Run:
    """A stretch of one sensor without a long gap: real stamps, and the signal that is filtered.

    The signal holds the samples, linear bridges over short gaps, and beyond both ends the edge
    value repeated as far as the filter reaches.
    """

    def __init__(
        self, first: int, t: int, x: NDArray[np.float64], period_ns: int, reach_ns: int
    ) -> None:
        self.first = first  # the grid may use the run from here on
        self.real_t = np.empty(0, np.int64)
        self.closed = False
        self._period_ns, self._pad = period_ns, reach_ns // period_ns + 1
        self._t = t - period_ns * np.arange(self._pad, 0, -1, dtype=np.int64)
        self._x = np.repeat(x[None], self._pad, axis=0)

    @property
    def last(self) -> int:
        return int(self.real_t[-1])

    def append(self, t: NDArray[np.int64], x: NDArray[np.float64]) -> None:
        """Add samples, the first at most MAX_GAP_NS behind the last."""
        parts_t, parts_x, begin = [self._t], [self._x], 0
        if len(self.real_t) and t[0] - self.last > 1.5 * self._period_ns:
            between, line = self._bridge(self.last, self._x[-1], int(t[0]), x[0])
            parts_t.append(between)
            parts_x.append(line)
        for i in np.flatnonzero(t[1:] - t[:-1] > 1.5 * self._period_ns).tolist():
            between, line = self._bridge(int(t[i]), x[i], int(t[i + 1]), x[i + 1])
            parts_t += [t[begin : i + 1], between]
            parts_x += [x[begin : i + 1], line]
            begin = i + 1
        self._t = np.concatenate([*parts_t, t[begin:]])
        self._x = np.concatenate([*parts_x, x[begin:]])
        self.real_t = np.concatenate([self.real_t, t])

    def _bridge(
        self, t_a: int, a: NDArray[np.float64], t_b: int, b: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return samples in a straight line, a period apart, from one sample to the next."""
        n = round((t_b - t_a) / self._period_ns)
        share = np.arange(1, n) / n
        return t_a + (share * (t_b - t_a)).astype(np.int64), a + share[:, None] * (b - a)

    def close(self) -> None:
        """Nothing more will be appended."""
        if not self.closed:
            steps = self._period_ns * np.arange(1, self._pad + 1, dtype=np.int64)
            self._t = np.append(self._t, self.last + steps)
            self._x = np.concatenate([self._x, np.repeat(self._x[-1:], self._pad, axis=0)])
            self.closed = True

    def at(
        self, grid: NDArray[np.int64], filter_ns: float, shared: _SharedTaps
    ) -> NDArray[np.float64]:
        """Return float64[n, 3] at grid times within the run."""
        reach = int(HALF_WIDTH_PERIODS * filter_ns)
        a, b = np.searchsorted(self._t, (grid[0] - reach, grid[-1] + reach + 1))
        return shared.taps(self._t[a:b], grid, filter_ns).apply(self._x[a:b])

    def covered(self, grid: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which grid times have a real sample within one input period."""
        a, b = np.searchsorted(self.real_t, (grid[0], grid[-1])).tolist()
        around = self.real_t[max(a - 1, 0) : b + 1]
        if (around[1:] - around[:-1] <= 2 * self._period_ns).all():
            return np.ones(len(grid), bool)
        after = np.searchsorted(self.real_t, grid)
        to_next = np.abs(self.real_t.take(after, mode="clip") - grid)
        from_previous = np.abs(grid - self.real_t.take(after - 1, mode="clip"))
        near: NDArray[np.bool_] = np.minimum(to_next, from_previous) <= self._period_ns
        return near

    def forget(self, before: int) -> None:
        """Drop what no later grid time can need."""
        old = int(np.searchsorted(self._t, before))
        self._t, self._x = self._t[old:], self._x[old:]
        self.real_t = self.real_t[
            min(int(np.searchsorted(self.real_t, before)), len(self.real_t) - 1) :
        ]


class _Track:
    """One sensor of one segment: final samples as they came, later the runs they make.

    Stamps that jitter by more than _MAX_JITTER of the period are regressed to a local uniform
    clock: counted in periods, a step that looks like lost samples for as many, each takes the mean
    offset of those around it.
    """

    def __init__(self) -> None:
        self.t = np.empty(0, np.int64)
        self.x = np.empty((0, 3))
        self._runs: list[_Run] = []
        self._done = 0  # so many of `t` were carried over and stay for those behind them
        self._last = 0  # the last stamp
        self._came = self._carried = 0  # the last carried over, as it came and as regressed
        self._period_ns = self._clock_ns = 0
        self._filter_ns = 0.0
        self._around = 0  # stamps on either side that regression takes, 0 for none
        self._lost_ns = 0  # a longer step has lost samples in it

    def append(self, samples: Samples) -> None:
        """Add final samples."""
        if len(self.t):
            self.t = np.concatenate([self.t, samples.t])
            self.x = np.concatenate([self.x, samples.x])
        else:
            self.t, self.x = samples.t, samples.x

    def drop(self, n: int) -> None:
        """Forget the first `n` samples."""
        self.t, self.x = self.t[n:], self.x[n:]

    def measure(self, t: NDArray[np.int64], grid_period_ns: int) -> None:
        """Take the input period, and the filter's period from it.

        The filter's cut-off follows the input below the grid's rate, in steps of a hundredth, so
        that a small error of the measured rate changes nothing.
        """
        self._period_ns = int(NS_PER_S / _rate_hz(t))
        percent = min(max(round(100 * grid_period_ns / self._period_ns), 1), 100)
        self._filter_ns = grid_period_ns * (100 / percent)
        self._measure_jitter(np.diff(t))

    def _measure_jitter(self, steps: NDArray[np.int64]) -> None:
        """Decide whether stamps are regressed, and which steps then count as lost samples."""
        period_ns = self._period_ns
        spread = 1.5 * float(np.median(np.abs(steps - period_ns)))  # one sigma
        self._lost_ns = int(period_ns + max(0.6 * period_ns, 4 * spread))
        even = steps[steps <= self._lost_ns]
        bursts = even.mean() < 0.8 * period_ns
        if bursts or even.std() > _MAX_JITTER * period_ns:
            self._around = REGRESSED_NS // period_ns
            self._clock_ns = period_ns if bursts else int(even.mean())
        if bursts:
            self._lost_ns = MAX_GAP_NS

    @property
    def _reach_ns(self) -> int:
        return int(HALF_WIDTH_PERIODS * self._filter_ns)

    def advance(self, until: int, *, ends: bool) -> int:
        """Carry the samples over into runs; return the last time at which the grid is known."""
        if len(self.t) > self._done:
            self._last = int(self.t[-1])
        ends = ends or until - self._last > MAX_GAP_NS
        came, t, x = self._regressed(ends=ends)
        if len(t):
            before, self._carried, self._came = self._came, int(t[-1]), int(came[-1])
            # Gaps are those of the stamps as they came, whatever regression made of them.
            begins = (np.flatnonzero(came[1:] - came[:-1] > MAX_GAP_NS) + 1).tolist()
            if came[0] - before > MAX_GAP_NS:
                begins.insert(0, 0)
            for a, b in pairwise(sorted({0, *begins, len(t)})):
                self._carry(came[a], t[a:b], x[a:b], begins=a in begins)
        if not ends:
            return self._carried - self._reach_ns
        if self._runs:
            self._runs[-1].close()
        return until - 1

    def _carry(
        self, came: int, t: NDArray[np.int64], x: NDArray[np.float64], *, begins: bool
    ) -> None:
        """Add samples without a long gap to the last run, or begin another with them.

        The first one came stamped `came`: what lies before that may have been called a gap by now.
        """
        run = self._runs[-1] if self._runs else None
        if run is None or run.closed or begins:
            if run is not None:
                run.close()
            first = max(int(came), int(t[0]))
            run = _Run(first, int(t[0]), x[0], self._period_ns, self._reach_ns)
            self._runs.append(run)
        run.append(t, x)

    def _regressed(
        self, *, ends: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Take the samples whose stamps are known: stamps as they came, the final ones, values."""
        t, x, around = self.t, self.x, self._around
        n, done = len(t), self._done
        if not around or not n:
            self.t, self.x = t[:0], x[:0]
            return t, t, x
        steps = np.diff(t)
        periods = np.where(steps > self._lost_ns, np.rint(steps / self._clock_ns), 1).astype(int)
        clock = self._clock_ns * np.append(0, np.cumsum(periods))
        # Sums of integers: exact wherever they begin.
        total = np.append(0, np.cumsum(t - t[0] - clock))
        bounds = np.array([0, *(np.flatnonzero(steps > MAX_GAP_NS) + 1).tolist(), n])
        end = n if ends else max(n - around, int(bounds[-2]), done)
        i = np.arange(done, end)
        stretch = np.searchsorted(bounds, i, "right")
        a = np.maximum(i - around, bounds[stretch - 1])
        b = np.minimum(i + around + 1, bounds[stretch])
        regressed = t[0] + clock[i] + (total[b] - total[a]) // (b - a)
        keep = n if ends else max(end - around, 0)
        self.t, self.x, self._done = t[keep:], x[keep:], end - keep
        return t[done:end], regressed, x[done:end]

    def at(
        self, grid: NDArray[np.int64], shared: _SharedTaps
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return values float64[n, 3] at the times `grid`, and which are valid and covered."""
        newest = self._runs[-1] if self._runs else None
        if newest and newest.first <= grid[0] and grid[-1] <= newest.last:  # as nearly always
            whole = np.ones(len(grid), bool)
            return newest.at(grid, self._filter_ns, shared), whole, newest.covered(grid)
        values = np.zeros((len(grid), 3))
        valid, covered = np.zeros(len(grid), bool), np.zeros(len(grid), bool)
        for run in self._runs:
            a = np.searchsorted(grid, run.first)
            b = np.searchsorted(grid, run.last, "right")
            if a < b:
                values[a:b] = run.at(grid[a:b], self._filter_ns, shared)
                covered[a:b] = run.covered(grid[a:b])
                valid[a:b] = True
        return values, valid, covered

    def forget(self, before: int) -> None:
        """Drop what no grid time from `before` on can need."""
        before -= self._reach_ns + MAX_GAP_NS
        self._runs = [r for r in self._runs if not (r.closed and r.last < before)]
        for run in self._runs:
            run.forget(before)
