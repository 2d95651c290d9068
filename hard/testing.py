"""The conformance kit: what every source and sink must do, for their authors' own tests.

    def test_my_source_keeps_the_contract():
        check_source(lambda: MySource("mine", MySource.Config(port=port)), provoke=device.send)

Plain asserts with messages, so that any test runner will do; the daemon never imports this.
Linux only: open files are counted in /proc.
"""

from __future__ import annotations

import gc
import queue
import re
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from hard.api import (
    API_VERSION,
    Annotation,
    Command,
    Event,
    Message,
    PluginConfig,
    SampleBatch,
    Sensor,
    Sink,
    SinkUnavailable,
    Source,
    StreamState,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["check_message", "check_sink", "check_source", "sample_events", "sample_state"]

STOP_WITHIN_S = 0.5
_PROVOKE_EVERY_S = 0.05
_SAFE_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNITS = {
    "accel": {"m/s2", "g"},
    "linear_accel": {"m/s2", "g"},
    "gravity": {"m/s2", "g"},
    "gyro": {"rad/s", "deg/s"},
}
_T0_NS = 1_700_000_000_000_000_000
_EVENTS = 5


def check_source(
    make: Callable[[], Source[Any]],
    *,
    provoke: Callable[[], object] = lambda: None,
    timeout_s: float = 10.0,
) -> list[Message]:
    """Run a source twice as the runtime would; return what it emitted.

    `make` returns a new, configured instance.  A command that it asks for is met, and counts as
    something emitted.  `provoke` makes the peer send something; it is
    called again and again until a message arrives, since a source needs a moment to connect.
    """
    with _nothing_left("making and running the source"):
        with _nothing_left("__init__ (it must only store)"):
            source = make()
        _check_class(source)
        emitted: list[Message] = []
        for attempt in ("first", "second"):
            with _nothing_left(f"the {attempt} run"):
                emitted += _run(source, provoke, timeout_s, attempt)
        del source
    for message in emitted:
        check_message(message)
    return emitted


def check_message(message: Message) -> None:
    """Check that what a source emitted is well-formed."""
    assert len(message) > 0, "an empty message was emitted"
    for part in message:
        assert isinstance(part, SampleBatch | Annotation), f"emitted {part!r}"
        assert _SAFE_STREAM.fullmatch(part.stream), f"unsafe stream id {part.stream!r}"
        if isinstance(part, SampleBatch):
            _check_batch(part)
        else:
            assert type(part.t) is int, f"an annotation's t is {part.t!r}, not ns as an int"
            assert type(part.text) is str, f"an annotation's text is {part.text!r}"


def check_sink(
    make: Callable[[], Sink[Any]],
    *,
    make_unreachable: Callable[[], Sink[Any]] | None = None,
    timeout_s: float = 10.0,
) -> None:
    """Open, write, drain and close a sink twice as the runtime would.

    `make` returns a new, configured instance whose receiver is there, `make_unreachable` one
    whose receiver is not: its `open` must raise `SinkUnavailable`.
    """
    if make_unreachable is not None:
        with _nothing_left("a failed open and close"):
            _check_unreachable(make_unreachable())
    with _nothing_left("making and using the sink"):
        with _nothing_left("__init__ (it must only store)"):
            sink = make()
        _check_class(sink)
        sink.close()
        for first_seq in (1, 1 + _EVENTS):
            with _nothing_left("open … close"):
                _use(sink, sample_events(_EVENTS, first_seq), timeout_s)
        sink.close()
        del sink


def sample_events(n: int, first_seq: int = 1, stream: str = "conformance") -> list[Event]:
    """Return `n` events in the order of their numbers, bouts of two seconds each."""
    return [
        Event(
            kind="enter",
            stream=stream,
            t_decided=_T0_NS + (2 * seq + 1) * 10**9,
            t_start=_T0_NS + 2 * seq * 10**9,
            model="conformance-1",
            segment=0,
            activity="walking" if seq % 2 else "sitting",
            confidence=0.9,
            probs={"walking": 0.9 if seq % 2 else 0.1, "sitting": 0.1 if seq % 2 else 0.9},
            coverage=1.0,
            reason="changed",
            seq=seq,
        )
        for seq in range(first_seq, first_seq + n)
    ]


def sample_state(stream: str = "conformance") -> StreamState:
    """Return the state of a stream in the middle of a bout."""
    return StreamState(
        stream=stream,
        status="ok",
        activity="walking",
        since=_T0_NS,
        t=_T0_NS + 10**9,
        confidence=0.9,
        probs={"walking": 0.9, "sitting": 0.1},
        bout="00",
        model="conformance-1",
        reason=None,
    )


def _check_class(plugin: Source[Any] | Sink[Any]) -> None:
    config = type(plugin).Config
    assert issubclass(config, PluginConfig), f"{config!r} does not derive from PluginConfig"
    assert config.model_config.get("extra") == "forbid", f"{config!r} lets unknown keys pass"
    assert isinstance(plugin.config, config), f"configured by a {type(plugin.config)!r}"
    assert plugin.api_version == API_VERSION, f"made for api_version {plugin.api_version}"


def _run(
    source: Source[Any], provoke: Callable[[], object], timeout_s: float, attempt: str
) -> list[Message]:
    """Run until something was emitted or the data ended, then stop; return all that came."""
    arrived: queue.SimpleQueue[tuple[int, Message]] = queue.SimpleQueue()
    stop, failures = threading.Event(), list[BaseException]()
    asked: list[Command] = []

    def ask(command: Command) -> None:
        asked.append(command)
        command.answer({"ok": True})

    source.ask = ask

    def emit(message: Message) -> None:
        arrived.put((threading.get_ident(), message))

    def run() -> None:
        try:
            source.run(emit, stop)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    thread = threading.Thread(target=run, name=f"{attempt} run", daemon=True)
    thread.start()
    ident = thread.ident
    deadline_s = time.monotonic() + timeout_s
    first = None
    while first is None and not asked and thread.is_alive() and time.monotonic() < deadline_s:
        provoke()
        first = _next(arrived, _PROVOKE_EVERY_S)
    stop.set()
    stopped_s = time.monotonic()
    thread.join(timeout_s)
    took_s = time.monotonic() - stopped_s
    assert not failures, f"run raised {failures[0]!r}"
    assert not thread.is_alive(), f"run did not return within {timeout_s} s of stop"
    assert took_s < STOP_WITHIN_S, f"run returned {took_s:.2f} s after stop, not {STOP_WITHIN_S}"
    messages = [first] if first else []
    while (more := _next(arrived, None)) is not None:
        messages.append(more)
    assert messages or asked, f"nothing was emitted within {timeout_s} s"
    assert {who for who, _ in messages} <= {ident}, "emit was called from another thread than run"
    return [message for _, message in messages]


def _next(
    arrived: queue.SimpleQueue[tuple[int, Message]], timeout_s: float | None
) -> tuple[int, Message] | None:
    try:
        return arrived.get(timeout_s is not None, timeout_s)
    except queue.Empty:
        return None


def _check_batch(batch: SampleBatch) -> None:
    assert batch.sensor in get_args(Sensor), f"unknown sensor {batch.sensor!r}"
    n = len(batch.t)
    assert n > 0, f"an empty batch of {batch.sensor}"
    assert batch.t.dtype == np.int64, f"t is {batch.t.dtype}, not int64"
    assert batch.t.shape == (n,), f"t has the shape {batch.t.shape}"
    assert batch.values.dtype == np.float32, f"values are {batch.values.dtype}, not float32"
    assert batch.values.shape == (n, 3), f"values have the shape {batch.values.shape}, t {n}"
    assert np.isfinite(batch.values).all(), f"{batch.sensor} holds NaN or infinity"
    unit = batch.declared.unit
    assert unit in _UNITS[batch.sensor], f"{unit!r} is no unit of {batch.sensor}"
    assert batch.declared.max_delay_s >= 0, "max_delay_s is negative"


def _check_unreachable(sink: Sink[Any]) -> None:
    reason = None
    try:
        sink.open()
    except SinkUnavailable as error:
        reason = str(error)
    finally:
        sink.close()
    assert reason is not None, "open found a receiver that is not there"
    assert reason, "SinkUnavailable without a reason"


def _use(sink: Sink[Any], events: list[Event], timeout_s: float) -> None:
    seqs = [event.seq for event in events]
    confirmed: list[int] = []
    sink.open()
    try:
        sink.check()
        sink.update(sample_state())
        sink.write([], confirmed.append)
        assert not confirmed, f"writing nothing confirmed {confirmed}"
        sink.write(events[:1], confirmed.append)
        assert set(confirmed) <= set(seqs[:1]), f"confirmed {confirmed}, written {seqs[:1]}"
        sink.write(events[1:], confirmed.append)
        sink.check()
        sink.drain(timeout_s)
    finally:
        sink.close()
    assert sorted(confirmed) == seqs, f"written {seqs}, confirmed {confirmed}"


@contextmanager
def _nothing_left(after: str) -> Iterator[None]:
    """Assert that no thread and no open file is left that was not there before."""
    threads, files = set(threading.enumerate()), _open_files()
    yield
    gc.collect()
    left = [thread.name for thread in threading.enumerate() if thread not in threads]
    assert not left, f"{after} left threads behind: {left}"
    opened = [f"{number} -> {what}" for number, what in _open_files() - files]
    assert not opened, f"{after} left files open: {opened}"


def _open_files() -> set[tuple[str, str]]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listed folder's own descriptor, closed since
            found.add((link.name, str(link.readlink())))
    return found
