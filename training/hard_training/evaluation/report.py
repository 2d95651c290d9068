"""All that is known of a model on one page: report.html, and its plots as PNG beside it.

Takes what a run left (`hard_training.run_folder`) or a card alone.  The stress and streaming tables
are measured by a child process, because an edge runtime can't be loaded after TensorFlow, and kept
beside the card as stress.json and streaming.json; results of `hard-train crossval --json` and
`transfer --json` that lie in the folder are shown too.  The page loads nothing from elsewhere.
Called by `hard-train report`, and by `hard-train run` when a model is finished.
"""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from hard.api import UnusableInput
from hard.card import ModelCard
from hard_training.datasets import data_folder
from hard_training.evaluate import score
from hard_training.evaluation import figures, tables
from hard_training.evaluation.openings import FILE_NAME, openings
from hard_training.evaluation.provenance import versions
from hard_training.windows import LabelledWindows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hard_training.evaluation.tables import Cells

__all__ = ["write_report"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto;
       padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem;
       border-bottom: 1px solid #ddd }
table { border-collapse: collapse; margin: .6rem 0; font-size: .88rem; display: block;
       overflow-x: auto }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #eee;
       vertical-align: top }
th { font-weight: 600; white-space: nowrap } td { font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto } figure { margin: .8rem 0 } code { font-size: .85rem }
.note { color: #666; font-size: .88rem } .plots { display: flex; flex-wrap: wrap; gap: 1rem;
       align-items: flex-end } .plots figure { flex: 1 1 20rem; max-width: 36rem }
"""


def write_report(
    run_folder: Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    on_step: Callable[[str, float], None] = lambda *_: None,
) -> Path:
    """Write the page of a run's folder, or of a card by its path; return where it is.

    `out` None: report.html beside the card; PNGs go to the folder report-figures beside the page.
    What can't be measured (no data) is left out, and the page says why.  Raises `ModelRefused`
    for a card that is none, `UnusableInput` for a folder without one.
    """
    card_path = _card_in(run_folder)
    card, _ = ModelCard.load(card_path)
    page = out or card_path.parent / "report.html"
    measured, missing = {}, []
    for number, what in enumerate(("stress", "streaming")):
        on_step(f"measuring: {what}", number / 2)
        try:
            measured[what] = _measured(what, card, card_path, page.parent, data_folder(data))
        except UnusableInput as error:
            missing.append(f"{what}: {error}")
    on_step("drawing", 0.95)
    plots = _Plots(page.parent / "report-figures")
    parts = [
        _about(card, card_path.parent),
        _training(card_path.parent, card, plots),
        *_people_tested(card_path.parent, card, plots),
        _streaming(measured.get("streaming"), card, plots),
        _stress(measured.get("stress")),
        *(_comparison(found) for found in _comparisons(card_path.parent)),
        _provenance(card, card_path.parent, missing),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_page(card, [part for part in parts if part]), "utf-8")
    return page


def _card_in(folder: Path) -> Path:
    if not folder.is_dir():
        return folder.with_suffix(".json")
    for path in sorted(folder.glob("*.json")):
        if path.with_suffix(".tflite").is_file():
            return path
    raise UnusableInput(f"{folder}: no model in it (NAME.tflite beside its card NAME.json)")


def _measured(
    what: str, card: ModelCard, card_path: Path, beside: Path, data: Path
) -> dict[str, Any]:
    """Return what is kept from before for this very model, else measure and keep it."""
    kept = beside / f"{what}.json"
    found = _json(kept)
    if isinstance(found, dict) and found.get("model") == card.identity:
        return found
    command = [sys.executable, "-m", "hard_training.cli", what, str(card_path), "--json"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "--data", str(data)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UnusableInput(last[0].removeprefix("hard-train: "))
    measured: dict[str, Any] = json.loads(done.stdout)
    beside.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(measured), "utf-8")
    return measured


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


class _Plots:
    """Writes each plot to a folder and gives the HTML that holds the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, png: bytes, caption: str) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.png").write_bytes(png)
        source = f"data:image/png;base64,{b64encode(png).decode()}"
        text = escape(caption)
        image = f'<img src="{source}" alt="{text}">'
        return f'<figure>{image}<figcaption class="note">{text}</figcaption></figure>'


def _about(card: ModelCard, folder: Path) -> str:
    model_bytes = (folder / f"{card.name}.tflite").stat().st_size
    rows = {
        "model": card.identity,
        "recognises": card.description,
        "network": f"{card.architecture}; {card.parameters} parameters, {model_bytes} bytes",
        "input": f"{len(card.input.channels)} channels at {card.input.sampling_rate_hz:g} Hz, "
        f"windows of {card.input.window_samples} samples, every {card.input.stride_samples}; "
        f"frame: {card.input.frame}",
        "learned from": "; ".join(card.provenance.data_sets),
        "people": "; ".join(
            f"{part}: {', '.join(map(str, who))}" for part, who in card.provenance.subjects.items()
        ),
        "split": card.provenance.split,
    }
    return "<h2>The model</h2>" + _pairs(rows)


def _training(folder: Path, card: ModelCard, plots: _Plots) -> str:
    history = _json(folder / "history.json")
    if not isinstance(history, list) or not history:
        return ""
    best = int(card.provenance.metrics.get("best_epoch", 0))
    plot = plots.add(
        "curves",
        figures.curves(history, best),
        "Loss, and share of windows right on the people who choose the epoch.",
    )
    return f"<h2>Training</h2>{plot}"


def _people_tested(folder: Path, card: ModelCard, plots: _Plots) -> list[str]:
    """Return a section for each part of the people with figures in the run or on the card."""
    metrics = card.provenance.metrics
    found = {part: metrics[part] for part in ("validation", "test") if part in metrics}
    validation = _of_predictions(folder / "predictions.npz", card)
    if validation is not None:
        found["validation"] = validation
    return [_scores(part, scores, card, folder, plots) for part, scores in found.items()]


def _of_predictions(path: Path, card: ModelCard) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        n = len(stored["label"])
        windows = LabelledWindows(
            np.empty((n, 0, 0), np.float32),
            stored["label"],
            stored["person"],
            stored["recording"],
        )
        return score(windows, stored["probs"], card.labels)


def _scores(
    part: str, scores: Mapping[str, Any], card: ModelCard, folder: Path, plots: _Plots
) -> str:
    title = {
        "validation": "On the validation people, by whom epoch and temperature were chosen",
        "test": "On the official test people, who chose nothing",
    }[part]
    low, high = scores["interval_95"]
    summary = (
        f"{scores['windows']} windows of {len(scores['people'])} people: "
        f"{scores['accuracy']:.1%} right; mean over people {scores['mean_accuracy']:.1%} "
        f"(95 % {low:.1%} to {high:.1%}); macro F1 {scores['macro_f1']:.3f}; calibration error "
        f"{scores['calibration_error']:.3f}"
    )
    if "worst_person" in scores:
        worst = scores["worst_person"]
        summary += f"; worst: person {worst['person']}, {worst['accuracy']:.1%}"
    if part == "test":
        times = len(openings(folder))
        summary += f". Logged openings: {times} ({FILE_NAME})" if times else ""
    drawn = [
        plots.add(
            f"{part}-confusion",
            figures.confusion(scores["confusion"], card.labels),
            "Windows: rows are true, columns what the model says.",
        ),
        plots.add(
            f"{part}-people",
            figures.people(scores["people"], scores["mean_accuracy"], scores["interval_95"]),
            "Share of windows right, per person.",
        ),
    ]
    if "reliability" in scores:
        drawn.append(
            plots.add(
                f"{part}-reliability",
                figures.reliability(scores["reliability"], scores["calibration_error"]),
                "How often it is right when it is so sure.",
            )
        )
    table = _table(tables.label_cells(scores["labels"]))
    return f"<h2>{title}</h2><p>{summary}.</p>{table}<div class='plots'>{''.join(drawn)}</div>"


def _streaming(found: Mapping[str, Any] | None, card: ModelCard, plots: _Plots) -> str:
    if found is None:
        return ""
    row = found["rows"][0]
    note = (
        f"Whole recordings of {escape(found['people'])} ({escape(found['data_set'])}) through the "
        f"daemon's pipeline: {row['labelled_h']} h labelled, {row['segments']} bouts. A right "
        f"event begins within {found['tolerance_s']:g} s of the bout; a false one agrees with the "
        "label at no time. Warm: which way is up is known from the begin, from the same "
        "recordings, which is not causal."
    )
    plot = ""
    if found["examples"]:
        plot = plots.add(
            "timelines",
            figures.timelines(found["examples"], card.labels),
            "Truth above what the daemon shows, decision as shipped; unlabelled time is blank.",
        )
    table = _table(tables.streaming_cells(found))
    return f"<h2>Events on whole recordings</h2><p class='note'>{note}</p>{table}{plot}"


def _stress(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    note = (
        f"Windows of {escape(found['people'])} ({escape(found['data_set'])}) through "
        f"{escape(found['runtime'])}. On other data sets postures count as one label."
    )
    return (
        f"<h2>Where something is otherwise</h2><p class='note'>{note}</p>"
        f"{_table(tables.stress_cells(found))}"
        f"<h2>Motions of no class</h2>{_table(tables.no_class_cells(found))}"
        "<p class='note'>AUROC: how often a window of a known activity is surer than one of this. "
        "Simulated motions were never made by a person.</p>"
    )


def _comparisons(folder: Path) -> list[dict[str, Any]]:
    """Return the results of `crossval` and `transfer` that lie in the folder."""
    found = [_json(path) for path in sorted(folder.glob("*.json"))]
    return [f for f in found if isinstance(f, dict) and f.get("kind") in {"crossval", "transfer"}]


def _comparison(found: Mapping[str, Any]) -> str:
    command = f"<p><code>{escape(found['command'])}</code></p>"
    if found["kind"] == "transfer":
        title = f"Learned on {found['train']}, tested on {found['test']}"
        return f"<h2>{escape(title)}</h2>{_table(tables.transfer_cells(found))}{command}"
    title = f"Learners compared: {found['data_set']}, {len(found['labels'])} labels"
    anchors = _table(tables.anchor_cells(found["anchors"])) if found["anchors"] else ""
    note = f"{found['windows']} windows of {found['people']} people, frame {found['frame']}."
    table = _table(tables.crossval_cells(found))
    return f"<h2>{escape(title)}</h2><p class='note'>{note}</p>{table}{anchors}{command}"


def _provenance(card: ModelCard, folder: Path, missing: Sequence[str]) -> str:
    origin = card.provenance
    rows = {
        "command": origin.command,
        "made on": origin.created,
        "versions, training": ", ".join(f"{k} {v}" for k, v in origin.versions.items()),
        "versions, this report": ", ".join(f"{k} {v}" for k, v in versions().items()),
        "sha256": card.sha256,
        "data": origin.licence,
    }
    recipe = folder / "recipe.toml"
    shown = f"<pre>{escape(recipe.read_text('utf-8'))}</pre>" if recipe.is_file() else ""
    notes = "".join(f"<p class='note'>Not measured: {escape(why)}</p>" for why in missing)
    return f"<h2>Where it comes from</h2>{_pairs(rows)}{shown}{notes}"


def _pairs(rows: Mapping[str, str]) -> str:
    lines = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<table>{lines}</table>"


def _table(cells: Cells) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in cells.head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in cells.rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _page(card: ModelCard, parts: Sequence[str]) -> str:
    title = escape(f"{card.name}: report")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{''.join(parts)}</body></html>\n"
    )
