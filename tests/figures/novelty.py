"""Unknown windows against known ones: AUROC by kind, and how many known ones are rejected.

    python tests/figures/novelty.py --data ../shared/data
    python tests/figures/novelty.py hapt --embedding

Known are the windows of held-out people that lie wholly in one label; unknown are HAPT's
transitions (a window whose centre is in one) and SYNTHETIC shaking, tumbling and tables.  The
scores, which the gates of `hard/evidence.py` compare with 1: `distance` of the signal's traits,
`turn` of gravity, `flat`: how little the spread of acceleration varied within 13 s, and the largest
of the three; beside them the model's own doubt (1 - its highest probability).  Rejected is what a
gate other than `flat` speaks against: a posture that is called `still` is not wrong.
--embedding adds the distance (Mahalanobis, from the nearest label's mean, one covariance) of what
goes into the network's last layer, fitted on the training people, to see whether it knows more.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import sys
from collections import defaultdict, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from hard.card import ModelCard
from hard.classifier import TFLiteClassifier
from hard.decision import DecisionSettings
from hard.pipeline import Pipeline
from hard_training.datasets import DATA_SETS
from hard_training.evaluation.streaming import first_reference
from hard_training.timeline import labels_of

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.figures.motion import UNKNOWN, message

MODELS = {"hapt": ["waist"], "motionsense": ["pocket", "pocket-upright"]}
FLAT_RATIO, QUIET_M_S2 = 1.18, 0.3
"""As in `hard.evidence`."""
RUNS, RUN_S = 20, 60
SEED = 3


def flatness(spreads, spread):
    """Return how flat a device lies: 1 where `hard.evidence` says so, 0 while it moves."""
    spreads.append(spread)
    return FLAT_RATIO * min(spreads) / max(spreads) if max(spreads) <= QUIET_M_S2 else 0.0


class Windows:
    """What is known of each window, by what it is: "known", "transition" or a kind of motion."""

    def __init__(self, model):
        self.classifier = TFLiteClassifier.load(model)
        self.rows = defaultdict(list)

    def feed(self, messages, kinds_of, reference=None):
        """Let messages of one stream go through the pipeline; `kinds_of(windows)` names each."""

        spreads = deque(maxlen=10)

        def see(batch):
            flat = [flatness(spreads, spread) for spread in batch.novelty.spread.tolist()]
            signal = np.stack([batch.novelty.distance, batch.novelty.turn, flat], axis=1)
            doubt = 1 - batch.probs.max(axis=1)
            kinds = kinds_of(batch.windows)
            for i, kind in enumerate(kinds):
                if kind is not None:
                    self.rows[kind].append((*signal[i], doubt[i], batch.windows.values[i]))

        known = {} if reference is None else {"s": reference}
        choice = self.classifier, DecisionSettings()
        pipe = Pipeline(lambda _: choice, watch=see, references=known)
        for each in messages:
            pipe.feed([replace(batch, stream="s") for batch in each])
        pipe.finish("end_of_data")

    def scores(self, kind):
        """Return distance, turn, flat, the largest of them and doubt, float64[w, 5]."""
        *signal, doubt = np.array([row[:4] for row in self.rows[kind]]).T
        return np.stack([*signal, np.max(signal, axis=0), doubt], axis=1)

    def values(self, kind):
        """Return the windows float32[w, T, C]."""
        return np.stack([row[4] for row in self.rows[kind]])


def of_people(data_set, data, part, model, *, by_label=False):
    """Return the windows of a part's people; known ones by their label if asked for."""
    found = Windows(model)
    card = found.classifier.card
    for recording in DATA_SETS[data_set].recordings(data):
        if DATA_SETS[data_set].split.part(recording.person) != part:
            continue
        segments = labels_of([recording])

        def kinds_of(windows, segments=segments):
            kinds = []
            for begin, end in zip(windows.t_start.tolist(), windows.t_end.tolist(), strict=True):
                kind, centre = None, (begin + end) // 2
                for s in segments:
                    if s.label in card.labels and s.t_start <= begin and end <= s.t_end:
                        kind = s.label if by_label else "known"
                    elif s.label not in card.labels and s.t_start <= centre < s.t_end:
                        kind = "transition"
                kinds.append(kind)
            return kinds

        upright = card.input.frame == "upright"
        reference = first_reference([recording], card.input) if upright else None
        found.feed(recording.messages, kinds_of, reference)
    return found


def add_motion(found):
    """Feed runs of each kind of synthetic motion."""
    for kind, make in UNKNOWN.items():
        for run in range(RUNS):
            rng = np.random.default_rng([SEED, run])
            found.feed([message("s", 10**18, *make(RUN_S, rng))], lambda w, k=kind: [k] * len(w))


def embedding_of(card_name, values):
    """Return what goes into the last dense layer for windows float32[w, T, C]: float64[w, e]."""
    from hard.classifier import _runtime  # noqa: PLC0415 - a look inside

    model = ModelCard.load(card_name)[1].read_bytes()
    interpreter = _runtime()(
        model_content=model, num_threads=1, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    dense = [op for op in interpreter._get_ops_details() if op["op_name"] == "FULLY_CONNECTED"]
    place, found = interpreter.get_input_details()[0]["index"], []
    for window in values:
        interpreter.set_tensor(place, window[None].astype(np.float32))
        interpreter.invoke()
        found.append(interpreter.get_tensor(int(dense[-1]["inputs"][0])).ravel().astype(float))
    return np.array(found)


def embedding_scores(model, trained, found, kinds):
    """Return by kind the least Mahalanobis distance from a label's mean, fitted on `trained`."""
    labels = found.classifier.card.labels
    by_label = [embedding_of(model, trained.values(name)) for name in labels]
    means = np.array([e.mean(axis=0) for e in by_label])
    beside = np.concatenate([e - mean for e, mean in zip(by_label, means, strict=True)])
    precision = np.linalg.inv(np.cov(beside.T) + 1e-3 * np.eye(len(means[0])))
    scores = {}
    for kind in kinds:
        off = embedding_of(model, found.values(kind))[:, None] - means
        scores[kind] = np.einsum("wle,ef,wlf->wl", off, precision, off).min(axis=1)
    return scores


def main():
    """Print a row a model and kind as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="*", help="hapt, motionsense (both)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--people", choices=["test", "validation"], default="test")
    parser.add_argument("--model", action="append", help="name or card, instead of the usual ones")
    parser.add_argument("--embedding", action="store_true")
    given = parser.parse_args()
    names = [
        "distance",
        "turn",
        "flat",
        "any",
        "doubt",
        *(["embedding"] if given.embedding else []),
    ]
    print("| model | kind | windows | " + " | ".join(names) + " | rejected |")
    print("|---" * (4 + len(names)) + "|")
    for data_set in given.sets or MODELS:
        for model in given.model or MODELS[data_set]:
            found = of_people(data_set, given.data, given.people, model)
            add_motion(found)
            kinds = [kind for kind in ("known", "transition", *UNKNOWN) if found.rows[kind]]
            scores = {kind: list(found.scores(kind).T) for kind in kinds}
            if given.embedding:
                trained = of_people(data_set, given.data, "train", model, by_label=True)
                for kind, extra in embedding_scores(model, trained, found, kinds).items():
                    scores[kind].append(extra)
            for kind in kinds:
                tell(model, kind, scores)


def tell(model, kind, scores):
    """Print the row of a kind: AUROC against the known windows by score, the share rejected."""
    rejected = float((np.maximum(*scores[kind][:2]) > 1).mean())
    areas = ["-"] * len(scores[kind])
    if kind != "known":
        truth = np.repeat([0, 1], [len(scores["known"][0]), len(scores[kind][0])])
        pairs = zip(scores["known"], scores[kind], strict=True)
        areas = [f"{roc_auc_score(truth, np.concatenate(pair)):.3f}" for pair in pairs]
    cells = (model, kind, len(scores[kind][0]), *areas, f"{rejected:.1%}")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
