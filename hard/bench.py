"""`hard bench`: what the pipe costs, measured against the bare interpreter loop in the same run.

Times are taken in this process, the best of several rounds each, bare loop and pipe in turn: the
clock's, and the processor's own, which other programs disturb less.  Memory is taken in child
processes of their own, over one that has imported numpy and the runtime and invoked the model.
Called by the command line; nothing here is part of the daemon.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.card import ModelCard
from hard.classifier import TFLiteClassifier, runtime_name
from hard.decision import DecisionSettings
from hard.outputs import PlainCsv
from hard.plugins import create
from hard.replay import replay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hard.decision import PredictionBatch
    from hard.replay import Outcome

__all__ = ["measure"]

ROUNDS = 10
LIVE_WARM_UP_S = 5.0


def measure(file: Path | None, *, hours: float, model: str, live_s: float) -> dict[str, Any]:
    """Return the figures by name; `file` None simulates `hours` of 50 Hz first."""
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            file = _simulated(Path(folder) / "bench.csv", hours)
        figures: dict[str, Any] = {"runtime": runtime_name(), "model": model}
        figures |= _speed(file, model)
        figures |= _memory(file, model)
        if live_s:
            figures |= _live(Path(folder), model, live_s)
    return figures


def _simulated(path: Path, hours: float) -> Path:
    script = ["walking:300", "standing:120", "upstairs:60", "walking:240", "sitting:600"]
    script = [*script, "downstairs:60", "running:240", "standing:180"]
    repeat = max(round(hours * 2), 1)
    share = hours * 2 / repeat
    bouts = [entry.split(":") for entry in script]
    scaled = [f"{activity}:{max(float(s) * share, 2.0):.2f}" for activity, s in bouts]
    table = {"plugin": "simulator", "script": scaled * repeat, "realtime": False}
    source: Any = create("sources", "bench", table, "bench")
    with path.open("w", encoding="utf-8") as out:
        source.run(PlainCsv(out, labels=False).write, _Never())
    return path


class _Never:
    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the contract's name
        return False


def _source(file: Path) -> Any:
    return create("sources", file.name, {"plugin": "file", "path": str(file)}, "bench")


def _speed(file: Path, model: str) -> dict[str, Any]:
    classifier = _Timed.load(model)
    settings = DecisionSettings()
    collected: list[PredictionBatch] = []
    outcome = replay([_source(file)], lambda _: (classifier, settings), watch=collected.append)
    windows = np.concatenate([batch.windows.values for batch in collected])
    collected.clear()
    bare, pipe, beside = [], [], []
    for _ in range(ROUNDS):
        begin = _times_s()
        classifier.raw(windows)
        bare.append(_times_s() - begin)
        classifier.inference_s = np.zeros(2)
        begin = _times_s()
        replay([_source(file)], lambda _: (classifier, settings))
        pipe.append(_times_s() - begin)
        beside.append(pipe[-1] - classifier.inference_s)
    return _figures(outcome, len(windows), *(np.min(s, axis=0) for s in (bare, pipe, beside)))


def _times_s() -> NDArray[np.float64]:
    """Return the clock's time and this process's share of the processor, s."""
    return np.array([time.perf_counter(), time.process_time()])


class _Timed(TFLiteClassifier):
    """A classifier that adds up the times its inference takes."""

    inference_s = np.zeros(2)

    def raw(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        begin = _times_s()
        output = super().raw(windows)
        self.inference_s = self.inference_s + (_times_s() - begin)
        return output


def _figures(
    outcome: Outcome,
    windows: int,
    bare_s: NDArray[np.float64],
    pipe_s: NDArray[np.float64],
    beside_s: NDArray[np.float64],
) -> dict[str, Any]:
    hours = outcome.seconds / 3600
    return {
        "recording, h": round(hours, 3),
        "windows": windows,
        "bare invoke loop, ms/window": round(bare_s[0] / windows * 1e3, 4),
        "whole pipe, ms/window": round(pipe_s[0] / windows * 1e3, 4),
        "ratio": round(pipe_s[0] / bare_s[0], 2),
        "beside inference, s per hour of data": round(beside_s[0] / hours, 3),
        "the same in processor time": round(beside_s[1] / hours, 3),
        "samples/s": round(outcome.samples / pipe_s[0]),
        "times real time": round(outcome.seconds / pipe_s[0]),
    }


# The peak of /proc/self/status is this program's own; getrusage would begin with its parent's.
_BASE = """
import sys
import numpy
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter
model = Interpreter(model_path=sys.argv[1], num_threads=1)
model.allocate_tensors()
model.invoke()
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
_PIPE = """
import sys
from pathlib import Path
from hard.bench import replay_once
replay_once(Path(sys.argv[1]), sys.argv[2])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def replay_once(file: Path, model: str) -> Outcome:
    """Replay a recording with a model, for its memory."""
    classifier = TFLiteClassifier.load(model)
    return replay([_source(file)], lambda _: (classifier, DecisionSettings()))


def _memory(file: Path, model: str) -> dict[str, Any]:
    base = _peak_mb(_BASE, str(ModelCard.load(model)[1]))
    pipe = _peak_mb(_PIPE, str(file), model)
    return {
        "peak memory of numpy and model, MB": round(base, 1),
        "peak memory of the whole pipe, MB": round(pipe, 1),
        "difference, MB": round(pipe - base, 1),
    }


def _peak_mb(program: str, *arguments: str) -> float:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return float(done.stdout) / 1024


def _live(folder: Path, model: str, live_s: float) -> dict[str, Any]:
    """Run the daemon on one simulated 50 Hz stream and take its processor time from the kernel."""
    config = folder / "live.toml"
    config.write_text(
        f'[hard]\nstate_dir = "{folder}/state"\n[model]\nname = {json.dumps(model)}\n'
        '[sources.sim]\nplugin = "simulator"\n'
        f'[sinks.file]\nplugin = "jsonl"\npath = "{folder}/events.jsonl"\n',
        "utf-8",
    )
    command = [sys.executable, "-m", "hard", "run", "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:  # noqa: S603 - ours
        time.sleep(LIVE_WARM_UP_S)
        begin = _cpu_s(daemon.pid)
        time.sleep(live_s)
        used = _cpu_s(daemon.pid) - begin
        daemon.send_signal(signal.SIGTERM)
    return {"one live 50 Hz stream, % of a core": round(used / live_s * 100, 2)}


def _cpu_s(pid: int) -> float:
    """Return user and system time of a process, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
