"""What becomes of a message that a source received, whatever carried it.

    decode -> whose is it? -> may it come in? -> emit (the source does)

What is left out on the way is counted by the source's `skip`.  No connection and, but for the
timer of `first_message`, no clock and no thread.  Called by the sources mqtt, http and ws.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Timer
from typing import TYPE_CHECKING, Protocol

from hard.api import SampleBatch
from hard_formats.admission import AdmissionConfig
from hard_formats.devices import Devices
from hard_formats.names import name_beside, safe_id
from hard_formats.series import Options, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hard.api import Emit, Message, Stop
    from hard_formats.messages import Decoded


FAULTS = {
    "bad_time": "their time is missing or no count since 1970 in the right unit: correct the "
    "sender",
    "wrong_type": "what they measure is not named, or their values are not three numbers: send x, "
    "y and z under the name of their sensor",
    "not_finite": "a value is NaN, infinite or beyond float32: correct the sender",
    "unit_unknown": "the uncalibrated accelerometer is neither in g nor in m/s2, or sent for less "
    "than half a second: set platform, or switch on Accelerometer and Gravity",
}
"""Why samples are left out, by the word that they are counted by, and what to do."""


class ReceivingConfig(Options, AdmissionConfig):
    """What the messages do not say about themselves, and which of them may come in."""


class Skip(Protocol):
    """`Source.skip`."""

    def __call__(self, reason: str, detail: str, n: int = 1) -> None:
        """Count `n` things left out for `reason`."""
        ...


def read(decoding: Callable[[], Decoded], sender: str, skip: Skip) -> Decoded | Refused:
    """Return what `decoding` finds, or why it refused; either way what is left out is counted.

    `sender` stands before every detail: where the message came from.
    """
    try:
        decoded = decoding()
    except Refused as refused:
        refusal = refused
    except Exception as error:  # noqa: BLE001 - no message may end the loop, not even by a bug
        refusal = Refused("undecodable", f"decoding failed with {error!r}: a bug")
    else:
        for reason, n in decoded.skipped.items():
            if n:
                left = "1 sample" if n == 1 else f"{n} samples"
                skip(reason, f"{sender}: {left} left out: {FAULTS[reason]}", n)
        return decoded
    skip(refusal.reason, f"{sender}: {refusal}")
    return refusal


class Reception:
    """Takes the messages of one source in; remembers streams and devices as long as that lives."""

    def __init__(self, config: ReceivingConfig, skip: Skip) -> None:
        self._skip = skip
        self._admission = config.admission()
        self._devices = Devices(config.max_streams)

    def expect(self, streams: Sequence[str]) -> None:
        """Let these streams, known from before, come in first (`Source.expect`)."""
        self._admission.expect(streams)

    def take(self, decoding: Callable[[], Decoded], sender: str, now_s: float) -> Decoded | Refused:
        """Return what a message holds and may be emitted, or why it may not; both are counted.

        A device that sends under another one's name is given one of its own.  `now_s` is a
        monotonic time.
        """
        decoded = read(decoding, sender, self._skip)
        if isinstance(decoded, Refused):
            return decoded
        try:
            decoded = self._told_apart(decoded, sender, now_s)
            self._admit(decoded, now_s)
        except Refused as refused:
            self._skip(refused.reason, f"{sender}: {refused}")
            return refused
        return decoded

    def _admit(self, decoded: Decoded, now_s: float) -> None:
        """Let samples in as a stream; a label alone is let in and takes no stream's place."""
        batches = [part for part in decoded.message if isinstance(part, SampleBatch)]
        if batches or not decoded.message:
            self._admission.admit(decoded.stream, sum(map(len, batches)), now_s)
        else:
            self._admission.require_allowed(decoded.stream)

    def _told_apart(self, decoded: Decoded, sender: str, now_s: float) -> Decoded:
        if decoded.device is None:
            return decoded
        stream, device = decoded.stream, safe_id(decoded.device)
        first = self._devices.other_than(stream, device, now_s)
        if first is None:
            return decoded
        own = name_beside(stream, device)
        self._skip(
            "second_device",
            f"{sender}: the devices {first!r} and {device!r} both send as stream {stream!r}; the "
            f"second becomes stream {own!r}: give each of them a name of its own",
        )
        message = [replace(part, stream=own) for part in decoded.message]
        return replace(decoded, stream=own, message=message, beside=stream)


def first_message(run: Callable[[Emit, Stop], None], timeout_s: float) -> Message | None:
    """Run a source for a probe: return the first message it emits within `timeout_s`, if any."""
    seen: list[Message] = []
    stop = Event()

    def emit(message: Message) -> None:
        seen.append(message)
        stop.set()

    timer = Timer(timeout_s, stop.set)
    timer.start()
    try:
        run(emit, stop)
    finally:
        timer.cancel()
        timer.join()
    return seen[0] if seen else None
