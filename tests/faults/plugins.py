"""Plugins of the fault suite only, found through entry points as any others (`installation.py`).

`restless` is a source of wearers who change their activity every few seconds: recorded motion,
again and again, faster than time.  `faulty` and `trouble` are a source and a sink that misbehave.
"""

import math
import threading
import time
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from hard.api import NS_PER_S, Command, Declared, PluginConfig, SampleBatch, Sink, Source

RATE_HZ = 50
APART_S = 7
FOR_EVER_S = 1e9


class RestlessConfig(PluginConfig):
    """`motion`: an .npz with `accel` (m/s², gravity included) and `gyro` (rad/s) at 50 Hz.

    Data time began at `data_ns` when the wall clock was `begin_ns`, and runs `speed` times as fast:
    who is started again goes on where the data are by then; with `begin_ns` 0 it begins anew.  With
    `speed` 0 it runs as fast as the pipeline takes it.  It ends after `seconds` of data.  Each
    stream is there for `present_s` of data, then away for `absent_s`, one after the other.  A
    message holds `message_s` of data.
    """

    motion: Path = Field(strict=False)
    begin_ns: int
    data_ns: int
    streams: int = 4
    speed: float = 25.0
    seconds: float = FOR_EVER_S
    present_s: float = 1.0
    absent_s: float = 0.0
    message_s: int = 1

    def is_present(self, index: int, second: int) -> bool:
        turn_s = self.present_s + self.absent_s
        return (second + index * turn_s / self.streams) % turn_s < self.present_s


class RestlessSource(Source[RestlessConfig]):
    """Emits the streams' messages, evenly spread; late ones are sent without a pause."""

    Config = RestlessConfig

    def run(self, emit, stop):
        config = self.config
        with np.load(config.motion) as motion:
            sensors = [("accel", motion["accel"], "m/s2"), ("gyro", motion["gyro"], "rad/s")]
        gone_s = (time.time_ns() - config.begin_ns) / NS_PER_S if config.begin_ns else 0.0
        begun_s = time.monotonic() - gone_s
        second = max(0, math.ceil(gone_s * config.speed))
        places = np.arange(config.message_s * RATE_HZ)
        while second < config.seconds:
            t = config.data_ns + second * NS_PER_S + places * (NS_PER_S // RATE_HZ)
            for index in range(config.streams):
                if not config.is_present(index, second):
                    continue
                spread_s = index * config.message_s / config.streams
                due = (second + spread_s) / config.speed if config.speed else 0.0
                if stop.wait(max(0.0, begun_s + due - time.monotonic())):
                    return
                at = (second + index * APART_S) * RATE_HZ + places
                name = f"{self.name}-{index}"
                emit(
                    [
                        SampleBatch(name, sensor, t, values[at % len(values)], Declared(unit))
                        for sensor, values, unit in sensors
                    ]
                )
            second += config.message_s
            if not config.speed:
                self._let_it_catch_up(stop)
        if config.seconds < FOR_EVER_S:  # an end of the data would end the daemon
            stop.wait()

    def _let_it_catch_up(self, stop):
        """Wait for an answer that the pipeline gives in its turn, behind what was emitted."""
        answered = threading.Event()
        nobody = {"stream": f"{self.name}-nobody"}
        self.ask(Command("resume", nobody, lambda _: answered.set()))
        while not (answered.wait(0.5) or stop.is_set()):
            pass


class FaultyConfig(PluginConfig):
    how: Literal["raises", "exits", "hangs"]


class FaultySource(Source[FaultyConfig]):
    """Raises at once, calls `sys.exit`, or never returns though told to stop."""

    Config = FaultyConfig

    def run(self, emit, stop):
        del emit, stop
        if self.config.how == "raises":
            raise RuntimeError("a bug of this source")
        if self.config.how == "exits":
            raise SystemExit(3)
        threading.Event().wait()


class TroubleConfig(PluginConfig):
    how: Literal["raises", "slow", "hangs"]


class TroubleSink(Sink[TroubleConfig]):
    """Raises at each event, takes half a second for each, or never returns."""

    Config = TroubleConfig

    def open(self):
        pass

    def write(self, events, confirm):
        for event in events:
            if self.config.how == "raises":
                raise RuntimeError("a bug of this sink")
            threading.Event().wait(0.5 if self.config.how == "slow" else None)
            confirm(event.seq)

    def close(self):
        pass
