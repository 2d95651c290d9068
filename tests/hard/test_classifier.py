"""The model is used only after everything about it was found right."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.card import ModelRefused
from hard.classifier import TFLiteClassifier, operator_codes, prove, runtime_name
from tests.models import CARD, MODEL, mutated
from tests.models import written as installed


def refused(path, told):
    with pytest.raises(ModelRefused, match=told) as refusal:
        TFLiteClassifier.load(path)
    assert path.stem in str(refusal.value)


@pytest.fixture(scope="module")
def classifier():
    return TFLiteClassifier.load("pocket")


def windows(n, seed=0, scale=5.0):
    rng = np.random.default_rng(seed)
    shape = (n, CARD.input.window_samples, len(CARD.input.channels))
    return rng.normal(scale=scale, size=shape).astype(np.float32)


# -- what it says ------------------------------------------------------------------------------


def test_probabilities_are_of_four_decimals_and_sum_to_one(classifier):
    probs = classifier.classify(windows(20))
    assert probs.shape == (20, len(CARD.labels))
    assert np.array_equal(probs, probs.round(4))
    assert np.abs(probs.sum(axis=1) - 1).max() < 1e-3


def test_a_window_says_the_same_whatever_came_before(classifier):
    given_windows = windows(12)
    together = classifier.classify(given_windows)
    alone = [classifier.classify(given_windows[i : i + 1]) for i in reversed(range(12))]
    assert np.array_equal(together, np.concatenate(alone[::-1]))


def test_no_windows_have_no_probabilities(classifier):
    assert classifier.classify(windows(0)).shape == (0, len(CARD.labels))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e2, 3e3])
def test_extreme_motion_gives_probabilities_all_the_same(classifier, scale):
    probs = classifier.classify(np.clip(windows(20, scale=scale), -1e4, 1e4))
    assert np.isfinite(probs).all()
    assert ((probs >= 0) & (probs <= 1)).all()


def test_temperature_softens_what_the_graph_says(tmp_path, classifier):
    warm = TFLiteClassifier.load(installed(tmp_path, temperature=5.0))
    given_windows = windows(20)
    assert np.array_equal(
        warm.classify(given_windows).argmax(1), classifier.classify(given_windows).argmax(1)
    )
    assert (warm.classify(given_windows).max(1) <= classifier.classify(given_windows).max(1)).all()


def test_the_runtime_is_named():
    assert runtime_name() in {"ai-edge-litert", "tflite-runtime"}


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.fast_fault("F21")
def test_a_file_of_another_hash_is_refused(tmp_path):
    path = installed(tmp_path)
    path.with_suffix(".tflite").write_bytes(MODEL + b"\0")
    refused(path, "its sha256 is .* the card says .* install both again")


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    path = installed(tmp_path)
    path.with_suffix(".tflite").unlink()
    os.mkfifo(path.with_suffix(".tflite"))
    refused(path, "no regular file")


def test_a_missing_file_is_refused(tmp_path):
    path = installed(tmp_path)
    path.with_suffix(".tflite").unlink()
    refused(path, "can't be read")


@pytest.mark.fast_fault("F21")
@pytest.mark.parametrize("model", [b"", b"garbage", b"\0" * 100, b"\x10\0\0\0TFL3", b"TFL3" * 9])
def test_garbage_with_the_right_hash_is_refused(tmp_path, model):
    refused(installed(tmp_path, model), "not a usable .tflite")


@pytest.mark.fast_fault("F21")
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_a_truncated_model_is_refused(tmp_path, share):
    model = MODEL[: int(len(MODEL) * share)]
    outcomes = loads(tmp_path, [model])
    assert set(outcomes) <= {"refused", "crashed"}


@pytest.mark.parametrize(
    ("code", "name"), [(32, "CUSTOM"), (118, "IF"), (119, "WHILE"), (129, "CALL_ONCE")]
)
def test_a_forbidden_operator_is_refused_by_name(tmp_path, code, name):
    model = flatbuffer([0, code])
    assert operator_codes(model) == [0, code]
    refused(installed(tmp_path, model), f"uses {name};")


def test_the_runtime_leaves_numbers_near_zero_what_they_are():
    """Its build for arm64 has the processor take them for zero."""
    runtime_name()
    assert sys.float_info.min / 2 > 0.0


@pytest.mark.fast_fault("F21")
def test_a_golden_window_that_comes_out_otherwise_is_refused(tmp_path):
    golden = CARD.golden.model_dump()
    golden["output"] = golden["output"][::-1]
    refused(installed(tmp_path, golden=golden), "its golden window comes out .* off")


def test_shapes_other_than_the_cards_are_refused(tmp_path):
    columns = CARD.golden.model_dump() | {"window": [row[:3] for row in CARD.golden.window]}
    narrow = CARD.input.model_dump() | {"channels": CARD.input.channels[:3]}
    refused(installed(tmp_path, input=narrow, golden=columns, usual=None), "its input is float32")
    fewer = CARD.golden.model_dump() | {"output": [1.0, 0.0]}
    fields = {"labels": ["a", "b"], "postures": [], "transitions": None, "usual": None}
    fields |= {"golden": fewer}
    refused(installed(tmp_path, **fields), "its output is float32")


# -- damaged files -----------------------------------------------------------------------------


def flatbuffer(codes):
    """Return the smallest .tflite that declares these operators, and nothing to run."""

    def table(*offsets):
        """Return a vtable and its table's fixed part: an int32 back to it, then the fields."""
        return struct.pack(f"<HH{len(offsets)}H", 4 + 2 * len(offsets), 8, *offsets)

    head = struct.pack("<I", 0) + b"TFL3"
    root_vtable = table(0, 4)
    root_at = len(head) + len(root_vtable)
    vector_at = root_at + 8
    body = struct.pack("<iI", len(root_vtable), vector_at - (root_at + 4))
    first = vector_at + 4 + 4 * len(codes)
    entries, tables = b"", b""
    for i, code in enumerate(codes):
        vtable = table(0, 0, 0, 4)
        at = first + len(tables) + len(vtable)
        entries += struct.pack("<I", at - (vector_at + 4 + 4 * i))
        tables += vtable + struct.pack("<ii", len(vtable), code)
    head = struct.pack("<I", root_at) + head[4:]
    return head + root_vtable + body + struct.pack("<I", len(codes)) + entries + tables


def test_the_operators_of_the_bundled_model_are_known_ones():
    codes = operator_codes(MODEL)
    assert codes
    assert all(0 <= code < 250 for code in codes)


def codes_or_error(data):
    try:
        return operator_codes(data)
    except ValueError:
        return None


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=200), marked=st.booleans())
def test_reading_operators_of_any_bytes_gives_them_or_a_value_error(data, marked):
    codes_or_error(data[:4] + b"TFL3" + data[4:] if marked else data)


@settings(deadline=None, max_examples=300)
@given(
    at=st.integers(0, 150),
    word=st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1),
)
def test_reading_operators_of_a_damaged_model_gives_them_or_a_value_error(at, word):
    for model in (flatbuffer([0, 1, 2]), MODEL):
        found = codes_or_error(model[:at] + struct.pack("<I", word) + model[at + 4 :])
        assert found is None or len(found) <= 1000


_CHILD = """
import os, resource, sys
from hard.card import ModelRefused
from hard.classifier import TFLiteClassifier, runtime_name

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
runtime_name()
for path in sys.argv[1:]:
    # The runtime is loaded once; each model then is its own process.
    child = os.fork()
    if child == 0:
        try:
            TFLiteClassifier.load(path)
        except ModelRefused:
            os._exit(3)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(4)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print({0: "loaded", 3: "refused", 4: "raised"}.get(code, "crashed"))
"""


def loads(folder, models):
    """Load models in processes of their own; return what became of each."""
    paths = [str(installed(folder, model, f"m{i}")) for i, model in enumerate(models)]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *paths],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    outcomes = done.stdout.split()
    assert len(outcomes) == len(paths), done.stderr[-2000:]
    assert "raised" not in outcomes, done.stderr[-2000:]
    return outcomes


@pytest.mark.fast_fault("F21")
@pytest.mark.native
def test_mutated_models_are_refused_or_pass_their_golden_window(tmp_path):
    models = [mutated(seed) for seed in range(300)]
    for model in models:
        codes_or_error(model)
    outcomes = loads(tmp_path, models)
    assert outcomes.count("refused") > 50
    # What is left are crashes of the runtime, which the hash keeps from the daemon.
    assert outcomes.count("crashed") < 150


# -- the proof in a process of its own -----------------------------------------------------------


def test_a_model_proves_itself_in_a_process_of_its_own():
    assert prove("pocket") == CARD.identity


@pytest.mark.fast_fault("F21")
@pytest.mark.native
def test_a_model_that_crashes_the_runtime_is_refused_and_hurts_nobody_else(tmp_path):
    models = [mutated(seed) for seed in range(40)]
    outcomes = loads(tmp_path, models)
    if "crashed" not in outcomes:
        pytest.skip("this runtime withstands them all: ai-edge-litert does")
    crashing = tmp_path / f"m{outcomes.index('crashed')}.json"
    with pytest.raises(ModelRefused, match=r"it crashes .* \(SIG[A-Z]+\): damaged"):
        prove(crashing)


def test_what_a_model_is_refused_for_is_told_as_it_would_be_here(tmp_path):
    path = installed(tmp_path, sha256="0" * 64)
    with pytest.raises(ModelRefused, match="its sha256 is") as by_another:
        prove(path)
    with pytest.raises(ModelRefused) as here:
        TFLiteClassifier.load(path)
    assert str(by_another.value) == str(here.value)


@pytest.mark.native
def test_the_process_of_a_proof_may_take_little_memory():
    program = (
        "import hard.classifier as c; c._runtime(); c._limit_this_process(); "
        "kept = bytearray(2 * c.PROOF_BYTES)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
