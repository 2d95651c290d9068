"""Results as tables: rows of text that the terminal and the page both show.

Pure.  `*_table` gives a head and rows of cells, `*_text` the same for a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Cells",
    "anchor_cells",
    "crossval_cells",
    "crossval_text",
    "label_cells",
    "no_class_cells",
    "streaming_cells",
    "streaming_text",
    "stress_cells",
    "stress_text",
    "text_of",
    "transfer_cells",
    "transfer_text",
]


@dataclass(frozen=True, slots=True)
class Cells:
    """A table: its head, and rows as long as that."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def text_of(cells: Cells) -> str:
    """Return a table for a terminal, columns aligned.

    >>> print(text_of(Cells(("who", "right"), (("1", "90 %"),))))
    who  right
    1    90 %
    """
    lines = [cells.head, *cells.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(cells.head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _scores(row: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = row["interval_95"]
    return (
        _with_interval(row["macro_f1"], row["macro_f1_interval_95"]),
        f"{row['mean_macro_f1']:.3f}",
        f"{_percent(row['mean_accuracy'])} ({_percent(low)} to {_percent(high)})",
        f"{row['worst_person']['person']}: {_percent(row['worst_person']['accuracy'])}",
        f"{row['calibration_error']:.3f}",
    )


_SCORE_HEAD = (
    "macro F1 (95 %)",
    "mean over people",
    "right, mean over people (95 %)",
    "worst person",
    "ECE",
)


def crossval_cells(found: Mapping[str, Any]) -> Cells:
    """Return a row per learner and split."""
    rows = [
        (row["learner"], row["split"], f"{row['parameters']}", *_scores(row))
        for row in found["rows"]
    ]
    return Cells(("learner", "split", "parameters", *_SCORE_HEAD), tuple(rows))


def anchor_cells(anchors: Sequence[Mapping[str, Any]]) -> Cells:
    """Return a row per published figure."""
    rows = [
        (a["who"], a["protocol"], a["measure"], f"{a['value']:.3f}", a["source"]) for a in anchors
    ]
    return Cells(("published", "people", "measure", "value", "source"), tuple(rows))


def label_cells(labels: Mapping[str, Mapping[str, float]]) -> Cells:
    """Return a row per label: windows, precision, recall, F1."""
    rows = [
        (
            label,
            f"{row['windows']:g}",
            *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")),
        )
        for label, row in labels.items()
    ]
    return Cells(("label", "windows", "precision", "recall", "F1"), tuple(rows))


def transfer_cells(found: Mapping[str, Any]) -> Cells:
    """Return a row per learner, with the recall of each label there are windows of."""
    labels = [label for label, row in found["rows"][0]["labels"].items() if row["windows"]]
    rows = [
        (
            row["learner"],
            *_scores(row),
            *(_percent(row["labels"][label]["recall"]) for label in labels),
        )
        for row in found["rows"]
    ]
    head = ("learner", *_SCORE_HEAD, *(f"recall of {label}" for label in labels))
    return Cells(head, tuple(rows))


def stress_cells(found: Mapping[str, Any]) -> Cells:
    """Return a row per change, a refused one with its reason."""
    rows = []
    for row in found["rows"]:
        if "refused" in row:
            rows.append((row["change"], "-", "-", "-", f"refused: {row['refused']}"))
            continue
        low, high = row["interval_95"]
        recall = ", ".join(f"{name} {_percent(r)}" for name, r in row.get("recall", {}).items())
        rows.append(
            (
                row["change"],
                f"{row['windows']}",
                _with_interval(row["macro_f1"], row["macro_f1_interval_95"]),
                f"{_percent(row['mean_accuracy'])} ({_percent(low)} to {_percent(high)})",
                f"recall: {recall}" if recall else "",
            )
        )
    head = ("change", "windows", "macro F1 (95 %)", "right, mean over people (95 %)", "note")
    return Cells(head, tuple(rows))


def no_class_cells(found: Mapping[str, Any]) -> Cells:
    """Return a row per motion: how many windows come out so sure or surer."""
    levels = list(found["no_class"][0]["confident"])

    def shares(said: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {share:.0%}" for name, share in said.items() if share >= 0.005)

    rows = [
        (
            row["motion"],
            f"{row['windows']}",
            *(_percent(row["confident"].get(level)) for level in levels),
            f"{row['auroc']:.3f}" if "auroc" in row else "",
            shares(row.get("said", {})),
            shares(row.get("shown_as", {})),
        )
        for row in found["no_class"]
    ]
    head = (
        "motion",
        "windows",
        *(f"{float(level):.0%} sure or more" for level in levels),
        "AUROC",
        "likeliest",
        "shown by the daemon",
    )
    return Cells(head, tuple(rows))


def streaming_cells(found: Mapping[str, Any]) -> Cells:
    """Return a row per decision and reference."""

    def told(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    rows = []
    for row in found["rows"]:
        low, high = row["interval_95"]
        reference = row["reference"] + ("" if row["causal"] else ", not causal")
        delays = row["onset_delay_s"]
        rows.append(
            (
                row["decision"],
                reference,
                f"{_percent(row['right_known'])} ({_percent(low)} to {_percent(high)})",
                _percent(row["unknown"]),
                _percent(row["precision"]),
                _percent(row["recall"]),
                told(row["false_events_per_hour"], ".0f"),
                f"{told(delays['median'], '.1f')} s, {told(delays['p90'], '.1f')} s",
                str(row["segments_by"]["fragmented"] + row["segments_by"]["fragmented_merged"]),
            )
        )
    head = (
        "decision",
        "reference",
        "time right (95 % over people)",
        "time unknown",
        "event precision",
        "event recall",
        "false events/h",
        "onset delay: median, 90 %",
        "fragmented bouts",
    )
    return Cells(head, tuple(rows))


def crossval_text(found: Mapping[str, Any]) -> str:
    """Return the learners, and what others published beside them."""
    head = (
        f"{found['data_set']}, {len(found['labels'])} labels: {found['windows']} windows of "
        f"{found['people']} people, {found['channels']} channels, frame {found['frame']}, "
        f"seed {found['seed']}"
    )
    parts = [
        head,
        text_of(crossval_cells(found)),
        *(
            f"{row['learner']}, {row['split']}\n{text_of(label_cells(row['labels']))}"
            for row in found["rows"]
        ),
    ]
    if found["anchors"]:
        parts.append(text_of(anchor_cells(found["anchors"])))
    return "\n\n".join(parts)


def transfer_text(found: Mapping[str, Any]) -> str:
    """Return a table for a terminal."""
    head = (
        f"{found['train']} ({found['placements'][0]}) -> {found['test']} "
        f"({found['placements'][1]}): {found['windows']} windows of {found['people']} people, "
        f"{', '.join(found['labels'])}; {found['channels']} channels, frame {found['frame']}"
    )
    return f"{head}\n\n{text_of(transfer_cells(found))}"


def stress_text(found: Mapping[str, Any]) -> str:
    """Return both tables for a terminal."""
    head = f"{found['model']} on {found['data_set']}, {found['people']}, {found['runtime']}"
    return f"{head}\n\n{text_of(stress_cells(found))}\n\n{text_of(no_class_cells(found))}"


def streaming_text(found: Mapping[str, Any]) -> str:
    """Return a table for a terminal."""
    row = found["rows"][0]
    head = (
        f"{found['model']} on {found['data_set']}, {found['people']}, {found['runtime']}: "
        f"{row['labelled_h']} h labelled, {row['segments']} bouts; an onset may be "
        f"{found['tolerance_s']:g} s off"
    )
    return f"{head}\n\n{text_of(streaming_cells(found))}"
