"""Windows to probabilities by a TFLite model, through either edge runtime.

Called by the pipeline from one thread.  A classifier is usable only after its file's hash, its
operators and its golden window were found right: `TFLiteClassifier.load` does all three.

A damaged model can crash or stall the runtime, so one that comes while the daemon runs is loaded
by a process of its own first, which has little time and memory (`prove`):

    python -m hard.classifier --golden MODEL        prints name@hash, or why it is refused
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hard.card import ModelCard, ModelRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["TFLiteClassifier", "operator_codes", "prove", "runtime_name"]

_DEFAULT_ENVIRONMENT = -1
"""FE_DFL_ENV of glibc and musl, for arm64 and x86-64."""
PROOF_S = 30.0
"""A model that has not proved itself by then is refused; on a slow machine it takes seconds."""
PROOF_CPU_S = 20
PROOF_BYTES = 256 * 2**20
"""What a model and its interpreter may take beside the imports; the bundled ones take 2 MB."""

# Operators of the TFLite schema that the daemon does not run: custom code (Flex among it),
# control flow, and state that outlives a window in ways that reset_all_variables misses.
_FORBIDDEN = {
    32: "CUSTOM",
    118: "IF",
    119: "WHILE",
    129: "CALL_ONCE",
    142: "VAR_HANDLE",
    143: "READ_VARIABLE",
    144: "ASSIGN_VARIABLE",
}
_RUNTIME_ERRORS = (ValueError, RuntimeError, MemoryError)
"""What the runtimes raise for a model that is damaged."""


def _runtime() -> Any:
    """Return the interpreter class: ai-edge-litert where installed, else tflite-runtime."""
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - one of the two is there
    except ImportError:
        from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415
    _keep_subnormals()
    return Interpreter


def _keep_subnormals() -> None:
    """Let numbers near zero be what they are, which tflite-runtime's build for arm64 ends.

    Loading it makes this thread, and those that it starts, take them for zero.
    """
    if sys.float_info.min / 2 == 0.0:
        ctypes.CDLL(None).fesetenv(ctypes.c_void_p(_DEFAULT_ENVIRONMENT))


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep the runtime's C++ code from telling every user which delegate it made."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def runtime_name() -> str:
    """Return the distribution that runs the models: ai-edge-litert or tflite-runtime."""
    package: str = _runtime().__module__.split(".")[0]
    return package.replace("_", "-")


def operator_codes(model: bytes) -> list[int]:
    """Return the built-in operator codes that a .tflite declares (32 is a custom one).

    Reads the flatbuffer's first table only (schema.fbs of TensorFlow Lite: Model.operator_codes).
    Raises ValueError for anything that is not a .tflite.
    """
    if model[4:8] != b"TFL3":
        raise ValueError("it does not carry the TFL3 mark of a .tflite file")
    try:
        root = _u32(model, 0)
        vector = _field(model, root, 1)
        if vector is None:
            raise ValueError("it declares no operators")
        vector += _u32(model, vector)
        count = _u32(model, vector)
        if not 0 < count <= 1000:
            raise ValueError(f"it declares {count} operators")
        codes = []
        for i in range(count):
            at = vector + 4 + 4 * i
            table = at + _u32(model, at)
            old, new = _field(model, table, 0), _field(model, table, 3)
            codes.append(
                max(
                    0 if old is None else struct.unpack_from("<b", model, old)[0],
                    0 if new is None else struct.unpack_from("<i", model, new)[0],
                )
            )
    except struct.error as error:
        raise ValueError("it is truncated or damaged") from error
    return codes


def _u32(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("<I", data, at)[0]
    return value


def _field(data: bytes, table: int, index: int) -> int | None:
    """Return the position of a flatbuffer table's field, None where it is left at its default."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise ValueError("it is damaged")
    size = struct.unpack_from("<H", data, vtable)[0]
    slot = 4 + 2 * index
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else None


class TFLiteClassifier:
    """One interpreter of one model; not shared between threads."""

    def __init__(self, card: ModelCard, model: bytes) -> None:
        """Build the interpreter of `model`; raise `ModelRefused` where the runtime can't."""
        self.card = card
        try:
            with _quiet_stderr():
                self._interpreter = _runtime()(model_content=model, num_threads=1)
                self._interpreter.allocate_tensors()
            (source,) = self._interpreter.get_input_details()
            (target,) = self._interpreter.get_output_details()
        except (*_RUNTIME_ERRORS, ImportError, AttributeError) as error:
            raise ModelRefused(f"{card.name}: {runtime_name()} can't load it: {error}") from error
        window = (1, card.input.window_samples, len(card.input.channels))
        for what, details, shape in (
            ("input", source, window),
            ("output", target, (1, len(card.labels))),
        ):
            if tuple(details["shape"]) != shape or details["dtype"] != np.float32:
                raise ModelRefused(
                    f"{card.name}: its {what} is {details['dtype'].__name__}"
                    f"{details['shape'].tolist()}, the card says float32{list(shape)}"
                )
        self._input: int = source["index"]
        self._output: int = target["index"]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Load a model by name or path after checking hash, operators and golden window.

        Raises `ModelRefused` naming the file and what is wrong with it.
        """
        card, path = ModelCard.load(name_or_path)
        try:
            if path.exists() and not path.is_file():
                raise ModelRefused(f"{path}: no regular file: install the model again")
            model = path.read_bytes()
        except OSError as error:
            raise ModelRefused(f"{path}: can't be read: {error.strerror}") from error
        found = hashlib.sha256(model).hexdigest()
        if found != card.sha256:
            raise ModelRefused(
                f"{path}: its sha256 is {found[:12]}…, the card says {card.sha256[:12]}…: "
                "not the file the card was written for; install both again"
            )
        try:
            codes = operator_codes(model)
        except ValueError as error:
            raise ModelRefused(f"{path}: not a usable .tflite: {error}") from error
        forbidden = sorted({_FORBIDDEN[c] for c in codes if c in _FORBIDDEN})
        if forbidden:
            raise ModelRefused(
                f"{path}: uses {', '.join(forbidden)}; only built-in operators without control "
                "flow are run: export it with a fused LSTM"
            )
        classifier = cls(card, model)
        classifier.check_golden(path)
        return classifier

    def check_golden(self, path: Path) -> None:
        """Run the card's golden window, twice; raise `ModelRefused` where the output is off."""
        golden = self.card.golden
        window = np.asarray([golden.window], np.float32)
        try:
            output = self.raw(np.concatenate([window, window]))
        except _RUNTIME_ERRORS as error:
            raise ModelRefused(f"{path}: {runtime_name()} can't run it: {error}") from error
        off = float(np.abs(output - np.asarray(golden.output, np.float32)).max())
        if not off <= golden.tolerance:
            raise ModelRefused(
                f"{path}: its golden window comes out {off:.3g} off (tolerance "
                f"{golden.tolerance:g}) with {runtime_name()}: the model or the runtime is broken"
            )

    def raw(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the graph's probabilities, float32[w, labels], for float32[w, T, C] windows."""
        interpreter, source, target = self._interpreter, self._input, self._output
        output = np.empty((len(windows), len(self.card.labels)), np.float32)
        for i in range(len(windows)):
            # The fused LSTM keeps its state between invocations: without this reset a window's
            # result would depend on the windows before it.
            interpreter.reset_all_variables()
            interpreter.set_tensor(source, windows[i : i + 1])
            interpreter.invoke()
            output[i] = interpreter.get_tensor(target)[0]
        return output

    def classify(self, windows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities, float64[w, labels] rounded to four decimals.

        Rounding here makes what is decided the same as what is published.
        """
        logits = np.log(np.maximum(self.raw(windows).astype(np.float64), 1e-12))
        powered = np.exp(logits / self.card.temperature)
        probs: NDArray[np.float64] = powered / powered.sum(axis=1, keepdims=True)
        return probs.round(4)


# -- the proof in a process of its own -----------------------------------------------------------


def prove(name_or_path: str | Path) -> str:
    """Let a model load and run its golden window in a limited process; return its name@hash.

    Raises `ModelRefused`, also where that process crashes, hangs or wants too much memory.  Takes
    about as long as the imports do, at most 30 s.
    """
    command = [sys.executable, "-P", "-m", "hard.classifier", "--golden", str(name_or_path)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROOF_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelRefused(f"{name_or_path}: did not run within {PROOF_S:g} s: damaged") from error
    except OSError as error:
        raise ModelRefused(f"{name_or_path}: can't be tried: {error}") from error
    told = done.stdout.strip()
    if done.returncode == 0:
        return told
    if done.returncode == 1 and told:
        raise ModelRefused(told)
    how = f"exit code {done.returncode}"
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
    raise ModelRefused(f"{name_or_path}: it crashes {runtime_name()} ({how}): damaged")


def _limit_this_process() -> None:
    """Let the imports of now be followed by little; where that may not be set, go on."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    used_s = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + PROOF_BYTES),
        (resource.RLIMIT_CPU, used_s + PROOF_CPU_S),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "--golden":
        sys.stderr.write("usage: python -m hard.classifier --golden MODEL\n")
        return 2
    _runtime()
    _limit_this_process()
    try:
        told, code = TFLiteClassifier.load(arguments[1]).card.identity, 0
    except ModelRefused as error:
        told, code = str(error), 1
    except MemoryError:
        told, code = f"{arguments[1]}: it wants more memory than a model may have", 1
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
