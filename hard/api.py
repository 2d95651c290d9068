"""Everything a plugin may import: the values, `Source`, `Sink` and the errors.

Plugins import this module and nothing else of `hard`.  It holds no logic beyond what makes a
value whole (an event's id, its JSON form); the pipeline that turns samples into events lives in
`hard.pipeline`, the threads that carry them in `hard.runtime`.

All times are integer nanoseconds since the Unix epoch, never float.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "API_VERSION",
    "NS_PER_S",
    "PLAUSIBLE_NS",
    "SCHEMA_VERSION",
    "STANDARD_GRAVITY_M_S2",
    "Annotation",
    "Calibrate",
    "Command",
    "Confirm",
    "Control",
    "DaySummary",
    "Declared",
    "Description",
    "Emit",
    "Event",
    "Evicted",
    "Found",
    "Kind",
    "Message",
    "Pause",
    "PluginConfig",
    "Reason",
    "Remembered",
    "Renew",
    "Resume",
    "SampleBatch",
    "Sensor",
    "Silence",
    "Sink",
    "SinkUnavailable",
    "Source",
    "SourceUnavailable",
    "Stage",
    "Status",
    "Stop",
    "StreamState",
    "Unit",
    "UnusableInput",
    "rfc3339",
]

API_VERSION = 1
SCHEMA_VERSION = 1
NS_PER_S = 1_000_000_000
PLAUSIBLE_NS = 1_735_689_600 * NS_PER_S
"""2025: a clock of this machine that shows less is not set, and tells nothing."""
STANDARD_GRAVITY_M_S2 = 9.80665

Sensor: TypeAlias = Literal["accel", "linear_accel", "gravity", "gyro"]
Unit: TypeAlias = Literal["m/s2", "g", "rad/s", "deg/s"]
Kind: TypeAlias = Literal["enter", "exit", "status"]
Status: TypeAlias = Literal["checking", "ok", "no_data", "rejected", "paused"]
Reason: TypeAlias = str
"""Why a bout ended or a status changed: changed, no_data, rejected, paused, evicted, shutdown,
interrupted, end_of_data; for a status also a sentence that names cause and remedy."""


class SourceUnavailable(Exception):  # noqa: N818 - a state of the world, not a fault
    """The device or broker is away.  The runtime backs off and calls `run` again.

    Where it costs next to nothing to look (is the device's file there?), `again_within_s` bounds
    the back-off, so that what is plugged in is noticed soon.
    """

    def __init__(self, *args: object, again_within_s: float | None = None) -> None:
        super().__init__(*args)
        self.again_within_s = again_within_s


class SinkUnavailable(Exception):  # noqa: N818 - a state of the world, not a fault
    """The receiver is away.  The runtime closes the sink, backs off and opens it again."""


class UnusableInput(Exception):  # noqa: N818 - the input's fault, told to its owner
    """The input can't be right (no such file, no accelerometer, wrong unit): never retried.

    The message names the input, what is wrong with it and the remedy.
    """


@dataclass(frozen=True, slots=True)
class Declared:
    """What a source knows about the samples of one batch; conditioning converts and checks.

    `sign` is +1 for the Android frame (the axis that points up reads +9.81 at rest), -1 for the
    iOS frame (it reads -9.81), None when the source can't tell; it applies to the three kinds of
    acceleration only.  `max_delay_s` is how far behind the newest sample another one may still
    arrive: 0 for serial ports and files, 3 s for phones.  `clock` is "relative" when stamps count
    from the recording's start, "device" when they are another machine's time (since its boot, or
    since its session began): conditioning maps those to the epoch by `t_received_ns`.  `rate_hz`
    is the sampling rate that the sender states, None where it states none.  `counted` says that
    the stamps were made from that rate and a start: nothing measured them, so that only the motion
    can contradict it.
    """

    unit: Unit
    sign: Literal[1, -1] | None = 1
    max_delay_s: float = 0.0
    clock: Literal["epoch", "relative", "device"] = "epoch"
    rate_hz: float | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class SampleBatch:
    """Samples of one sensor of one stream, in the source's own units and order of arrival.

    `t` is int64[n], ns since the epoch; `values` is float32[n, 3] (x, y, z).  Sensors: `accel`
    includes gravity, `linear_accel` has it removed, `gravity` is the removed part, `gyro` is the
    angular rate.  `message_id` is the sender's running number where it has one.
    """

    stream: str
    sensor: Sensor
    t: NDArray[np.int64]
    values: NDArray[np.float32]
    declared: Declared
    t_received_ns: int | None = None
    message_id: int | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.t)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A label given by the wearer or the recording, from `t` on; "" ends the one before.

    It reaches record and evaluate, never the pipeline.
    """

    stream: str
    t: int
    text: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing arrived on this stream for too long: what the runtime tells the pipeline.

    Only a recording that `hard` made emits it, or a replay would decide otherwise than live did.
    """

    stream: str


@dataclass(frozen=True, slots=True)
class Calibrate:
    """The wearer of this stream stands still and upright now; emitted as `Silence` is."""

    stream: str


@dataclass(frozen=True, slots=True)
class Evicted:
    """This stream made room for another and was forgotten; emitted as `Silence` is."""

    stream: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of this stream is to be recognised from here on; emitted as `Silence` is.

    Until a `Resume`, which the runtime means to give at `until_ns`, None where nobody set an end.
    """

    stream: str
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """This stream is to be recognised again; emitted as `Silence` is."""

    stream: str


@dataclass(frozen=True, slots=True)
class Renew:
    """The model or the settings of this stream changed: begin anew; emitted as `Silence` is.

    `about` says what it is recognised with from here on, in JSON's own types, as the metadata of a
    recording do.
    """

    stream: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the pipeline knew of this stream before what follows; emitted as `Silence` is.

    `state` is what the pipeline gave, in JSON's own types: a source hands it on as it is.
    """

    stream: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """Something that somebody outside asks of the daemon (`Source.ask`).

    `arguments` are what came, unchecked.  `answer` is called once, from any thread and maybe before
    `ask` returns, with `{"ok": True, ...}` or `{"ok": False, "error": a word, "message": a
    sentence}`; it must not block.
    """

    name: str
    arguments: Mapping[str, Any]
    answer: Callable[[Mapping[str, Any]], None]


Control: TypeAlias = Silence | Calibrate | Evicted | Pause | Resume | Renew | Remembered
"""What the runtime tells the pipeline of one stream, and recordings keep."""
Message: TypeAlias = Sequence[SampleBatch | Annotation | Control]
"""What arrived together: all of it is accepted before the stream's watermark moves.

A `Control` stands alone in its message.
"""

Emit: TypeAlias = Callable[[Message], None]
Confirm: TypeAlias = Callable[[int], None]


def rfc3339(t_ns: int) -> str:
    """Format ns since the epoch as RFC 3339 UTC with milliseconds (truncated).

    >>> rfc3339(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, ns = divmod(t_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000:03d}Z"


@dataclass(frozen=True, slots=True)
class Event:
    """A decision about a stream: a bout of an activity begins or ends, or its status changes.

    For `enter`, `t_start` is the estimated onset and `t_end` None; the `exit` of the same bout
    repeats `t_start` and gives `t_end`.  `activity` is a label of the model or `unknown`, None
    for `status`.  `t_decided` is the data time at which it was known.  `confidence` and `probs`
    (label -> probability, four decimals) are those of the deciding window at `enter`, means over
    the bout at `exit`.  `coverage` is the share of grid points with a raw sample nearby.  `seq`
    is given by the event log; the id depends on the data alone.  `clock_unsynced` is True, else
    None, where this machine's clock could not be believed when it was decided.
    """

    kind: Kind
    stream: str
    t_decided: int
    t_start: int
    model: str
    segment: int
    activity: str | None = None
    t_end: int | None = None
    confidence: float | None = None
    probs: Mapping[str, float] = field(default_factory=dict)
    coverage: float | None = None
    status: Status | None = None
    previous: Status | None = None
    reason: Reason | None = None
    seq: int | None = None
    clock_unsynced: Literal[True] | None = None

    @property
    def bout(self) -> str | None:
        """The id that the enter and the exit of one bout share; None for a status."""
        return None if self.kind == "status" else self._digest("bout")

    @property
    def id(self) -> str:
        """The same whenever the same samples are processed: readers drop what they have seen."""
        return self._digest(self.kind)

    def _digest(self, kind: str) -> str:
        what = self.status if self.kind == "status" else self.activity
        parts = (self.stream, self.model, kind, what, self.segment, self.t_start)
        return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).hexdigest()

    def numbered(self, seq: int) -> Event:
        """Return the same event with its number in the event log."""
        return replace(self, seq=seq)

    def payload(self) -> dict[str, Any]:
        """Return the JSON object, schema 1, without what belongs to delivery.

        A sink adds `t_published`, `t_published_ns`, `latency_ms` and `late` by `delivered`.
        """
        body: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "seq": self.seq,
            "event_type": self.kind,
            "id": self.id,
            "bout": self.bout,
            "stream": self.stream,
            "activity": self.activity,
            "confidence": self.confidence,
            "probs": dict(self.probs),
        }
        for name, t_ns in (
            ("t_start", self.t_start),
            ("t_end", self.t_end),
            ("t_decided", self.t_decided),
        ):
            body[name] = None if t_ns is None else rfc3339(t_ns)
            body[f"{name}_ns"] = t_ns
        body |= {
            "coverage": self.coverage,
            "segment": self.segment,
            "model": self.model,
            "reason": self.reason,
        }
        if self.kind == "status":
            body |= {"status": self.status, "previous": self.previous}
        return body | ({"clock_unsynced": True} if self.clock_unsynced else {})

    def delivered(self, t_published_ns: int, late_after_s: float = 30.0) -> dict[str, Any]:
        """Return `payload()` with the fields of delivery at `t_published_ns` (wall clock)."""
        latency_ms = (t_published_ns - self.t_decided) // 1_000_000
        return self.payload() | {
            "t_published": rfc3339(t_published_ns),
            "t_published_ns": t_published_ns,
            "latency_ms": latency_ms,
            "late": latency_ms > late_after_s * 1000,
        }


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a stream is now: latest wins, never logged, retained by sinks that can.

    `activity` is the best guess by all that came so far, which may be taken back; `confirmed` is
    that of the open bout, which events told of, None without one.  `since` is when the guess began
    to lead, the onset of the bout where the two agree, else when the status began;
    `t` is the data time of this knowledge.  Both are None while nothing is known yet.
    """

    stream: str
    status: Status
    activity: str | None
    since: int | None
    t: int | None
    confidence: float | None
    probs: Mapping[str, float]
    bout: str | None
    model: str
    reason: Reason | None
    confirmed: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return the JSON object, schema 1."""
        return {
            "schema": SCHEMA_VERSION,
            "stream": self.stream,
            "status": self.status,
            "activity": self.activity,
            "confirmed": self.confirmed,
            "confidence": self.confidence,
            "probs": dict(self.probs),
            "since": None if self.since is None else rfc3339(self.since),
            "since_ns": self.since,
            "t": None if self.t is None else rfc3339(self.t),
            "t_ns": self.t,
            "bout": self.bout,
            "model": self.model,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class DaySummary:
    """What a stream's wearer did in one day so far: latest wins, never logged, like `StreamState`.

    The day `date` lasts from `t_start` to `t_end` in the IANA zone `timezone`; `t` is the data time
    until which it is counted, with the bout that is open.  `activity_s` and `bouts` are by
    activity, bouts being split at midnight; `longest_rest` is the longest stretch of postures and
    `still`, from when to when; `first_seen` and `last_seen` are the ends of the evidence.
    """

    stream: str
    date: str
    timezone: str
    t_start: int
    t_end: int
    t: int
    activity_s: Mapping[str, float]
    bouts: Mapping[str, int]
    longest_rest: tuple[int, int] | None
    no_data_s: float
    first_seen: int | None
    last_seen: int | None

    def payload(self) -> dict[str, Any]:
        """Return the JSON object, schema 1."""
        rest_start, rest_end = self.longest_rest or (None, None)
        body: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "stream": self.stream,
            "date": self.date,
            "timezone": self.timezone,
            "activity_s": dict(self.activity_s),
            "bouts": dict(self.bouts),
            "no_data_s": self.no_data_s,
        }
        for name, t_ns in (
            ("t_start", self.t_start),
            ("t_end", self.t_end),
            ("t", self.t),
            ("first_seen", self.first_seen),
            ("last_seen", self.last_seen),
            ("longest_rest_start", rest_start),
            ("longest_rest_end", rest_end),
        ):
            body[name] = None if t_ns is None else rfc3339(t_ns)
            body[f"{name}_ns"] = t_ns
        return body


@dataclass(frozen=True, slots=True)
class Description:
    """What a stream is called and what it can say, for sinks that show it to people.

    `name` is the configured one, else the stream's own.  `activities` is everything that states and
    events of `model` (name and hash) may tell of it, `resting` those in which its wearer does not
    move.
    """

    stream: str
    name: str
    model: str
    activities: tuple[str, ...]
    resting: tuple[str, ...]


class Stop(Protocol):
    """The part of `threading.Event` that a source may use."""

    def is_set(self) -> bool:
        """Tell whether the source must return."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until told to stop, at most `timeout` seconds; return whether it was."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a plugin's `probe`: what was tried, whether it worked, and what to do if not.

    `ok` None means that it can't be told (nothing arrived yet); `detail` says what was seen.
    """

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that `scan` found: where it is, what speaks there, and the settings that use it."""

    address: str
    detail: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class PluginConfig(BaseModel):
    """Base of every plugin's `Config`: an unknown key is an error, values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=PluginConfig)


class _Plugin(ABC, Generic[ConfigT]):
    """What sources and sinks share: a name, a configuration, a logger, counters."""

    Config: ClassVar[type[PluginConfig]]
    api_version: ClassVar[int] = API_VERSION
    trouble: str | None = None
    """What keeps it from doing all of its work while it runs: shown by `hard status`."""

    def __init__(self, name: str, config: ConfigT, node: str = "hard") -> None:
        """Store the instance's name, its configuration and the node's name; do nothing else."""
        self.name = name
        self.config = config
        self.node = node
        self.log = logging.getLogger(f"hard.{name}")
        self.counts: Counter[str] = Counter()

    def skip(self, reason: str, detail: str, n: int = 1) -> None:
        """Count `n` things left out for `reason` (a word); log `detail` the first time only."""
        first = reason not in self.counts
        self.counts[reason] += n
        if first:
            # A replay's sources are named after their files, which details begin with.
            told = detail if detail.startswith(self.name) else f"{self.name}: {detail}"
            self.log.warning("%s (said once, counted as %s)", told, reason)

    def advice(self) -> Iterator[tuple[str, str]]:
        """Yield (key, sentence) of what is right in the configuration but may surprise.  Optional.

        Told by `hard check`; nothing is tried.
        """
        return iter(())

    def probe(self, timeout_s: float) -> Iterator[Stage]:
        """Try what this instance needs, stage by stage, to the first that fails.  Optional.

        Called for `hard doctor`, by a process of its own and never while the instance runs; takes
        at most about `timeout_s` and leaves everything as it was.
        """
        del timeout_s
        return iter(())


def _refuse(command: Command) -> None:
    told = "no daemon runs here that could do it"
    command.answer({"ok": False, "error": "unsupported", "message": told})


class Source(_Plugin[ConfigT]):
    """Where samples come from.

    The runtime makes one instance per configured name, calls `run` in a thread of its own and,
    after it returned or raised, may call it again; never twice at a time.

    By `self.ask(command)` it asks something of the daemon for somebody outside, from any thread;
    where no daemon runs every command is refused.  It never blocks.
    """

    def __init__(self, name: str, config: ConfigT, node: str = "hard") -> None:
        """Store the instance's name, its configuration and the node's name; do nothing else."""
        super().__init__(name, config, node)
        self.ask: Callable[[Command], None] = _refuse

    def clock_set(self) -> None:
        """Learn that this machine's clock was set, once, after it could not be believed.  Optional.

        Called from another thread than `run`'s.  For sources that keep what it showed before.
        """

    def expect(self, streams: Sequence[str]) -> None:
        """Learn which streams are known from before, the latest first.  Optional.

        Called once, before `run`.  For sources that anyone can send to: these come in first.
        """

    @abstractmethod
    def run(self, emit: Emit, stop: Stop) -> None:
        """Read until `stop` is set (notice it within 0.5 s) or the data ends, then release all.

        Call `emit` from this thread only.  Live it never blocks; in a replay it may wait.  Return
        at the end of data or on `stop`.  Raise `SourceUnavailable` when the device is away (never
        retry or sleep here), `UnusableInput` when the input can never be right.  Bad messages or
        rows are `skip`ped, not raised.
        """

    @classmethod
    def scan(cls, timeout_s: float) -> Iterator[Found]:
        """Look around for what this plugin could read, for at most about `timeout_s`.  Optional.

        Called for `hard sources scan`; never raises for what is not there.
        """
        del timeout_s
        return iter(())


class Sink(_Plugin[ConfigT]):
    """Where events go.

    All methods are called from one thread of its own, in the order `open (describe | update |
    summarise | explain | retire | forget | report | write | check)* close`; after `SinkUnavailable`
    from any of them: `close`, a back-off, `open` again.  The optional ones do nothing here.
    """

    shows_windows: bool = False
    """Whether `explain` is to be called; as it is when the sink is opened."""

    @abstractmethod
    def open(self) -> None:
        """Connect or create; may block up to 10 s.

        Every known state follows by `update`, every stream's newest summary by `summarise`.
        """

    @abstractmethod
    def write(self, events: Sequence[Event], confirm: Confirm) -> None:
        """Deliver `events`, ascending in `seq`; may block up to 10 s.

        Call `confirm(seq)` once an event is delivered for good, now or later and from any thread,
        in any order.  What is not confirmed is written again after the next `open`.
        """

    def describe(self, description: Description) -> None:
        """Learn what a stream is called and can say.  Optional.

        Called before a stream's first `update` after each `open`, `retire` and `forget`, and again
        when it has changed: another name, another model.
        """

    def update(self, state: StreamState) -> None:
        """Show what a stream is now; the latest wins.  Optional."""

    def summarise(self, summary: DaySummary) -> None:
        """Show what a stream's wearer did today, or yesterday; the latest wins.  Optional."""

    def retire(self, stream: str) -> None:
        """Show that a stream made room for others: its state is not known any more.  Optional.

        It may come back, by `update`.  Called again after each `open`.
        """

    def explain(self, window: Mapping[str, Any]) -> None:
        """Show how a window was judged, as JSON values: what `hard replay --explain --json` prints.

        Optional; called only where `shows_windows` is true, and not for all of them when the sink
        is slow or away.
        """

    def forget(self, stream: str) -> None:
        """Remove all that is shown of a stream, such as retained messages.  Optional.

        Its owner wants it gone.  Should it send again, it is shown again, by `update`.
        """

    def announcement(self, description: Description | None) -> Mapping[str, str]:
        """Return what announces a stream, or with None the node: topic -> payload.  Optional.

        For `hard ha show`; nothing is sent, and nothing need be open.
        """
        del description
        return {}

    def announced(self, timeout_s: float) -> Iterator[tuple[str, str]]:
        """Yield (topic, payload) of what its receiver holds of such announcements.  Optional.

        For `hard ha list`, by a process of its own; takes at most about `timeout_s`, leaves
        everything as it was, and raises `SinkUnavailable`.
        """
        del timeout_s
        return iter(())

    def report(self, health: Mapping[str, Any]) -> None:
        """Show how the daemon does, as JSON values.  Optional.

        Called after `open`, once a minute, and when what is degraded has changed.
        """

    def check(self) -> None:
        """Raise `SinkUnavailable` if the link is gone; called about once a second.  Optional."""

    def drain(self, timeout_s: float) -> None:
        """Wait until everything written is confirmed or the time is up; called before `close`.

        Optional: only sinks that confirm later need it.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything; must work after a failed `open` too, and never raise."""
