"""The plots of a report, as PNG.

Pure: numbers in, bytes out, nothing on a screen.  Colours are told apart by everybody (Okabe and
Ito 2008).  Called by `hard_training.evaluation.report`.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

__all__ = ["confusion", "curves", "people", "reliability", "timelines"]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
_DPI = 110


def curves(history: Sequence[Mapping[str, float]], best_epoch: int) -> bytes:
    """Return loss, and share right of the validation people, over epochs; the best one marked."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss, right = figure.subplots(1, 2)
    epochs = [row["number"] for row in history]
    for name, colour in (("training_loss", _COLOURS[0]), ("validation_loss", _COLOURS[1])):
        values = [row[name] for row in history]
        loss.plot(epochs, values, color=colour, label=name.replace("_loss", ""))
    right.plot(epochs, [row["validation_share_right"] for row in history], color=_COLOURS[1])
    for axes in (loss, right):
        axes.axvline(best_epoch, color="0.6", linestyle=":")
        axes.set_xlabel("epoch")
    loss.set_ylabel("loss, nats")
    loss.legend(frameon=False)
    right.set_ylabel("validation windows right")
    right.set_title(f"best: epoch {best_epoch}", fontsize=9)
    return _png(figure)


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> bytes:
    """Return the confusion matrix: rows are the truth, shades the share of a row."""
    table = np.asarray(counts, float)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.55 * len(labels)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(table.shape):
        if table[row, column]:
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{table[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    return _png(figure)


def people(shares: Mapping[str, float], mean: float, interval: Sequence[float]) -> bytes:
    """Return a bar per person, the worst first, with the mean and its interval."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    order = sorted(shares, key=lambda person: shares[person])
    axes.bar(order, [shares[person] for person in order], color=_COLOURS[0])
    axes.axhspan(interval[0], interval[1], color=_COLOURS[1], alpha=0.3, label="95 % interval")
    axes.axhline(mean, color=_COLOURS[1], label="mean")
    axes.set_ylim(0, 1)
    axes.set_xlabel("person")
    axes.set_ylabel("windows right")
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return _png(figure)


def reliability(rows: Sequence[Sequence[float]], error: float) -> bytes:
    """Return share right over confidence, per bin, and how many windows each bin has."""
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    windows, sure, right = np.asarray(rows, float).T
    axes.plot((0, 1), (0, 1), color="0.6", linestyle=":")
    axes.plot(sure, right, "o-", color=_COLOURS[0])
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share right")
    axes.set_title(f"expected calibration error {error:.3f}", fontsize=9)
    below.bar(sure, windows, width=0.04, color=_COLOURS[0])
    below.set_yscale("log")
    below.yaxis.set_minor_formatter(NullFormatter())  # the tens alone: the rest runs together
    below.set_ylabel("windows")
    below.set_xlabel("confidence")
    below.set_xlim(0, 1.02)
    return _png(figure)


def timelines(examples: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> bytes:
    """Return what was true above what was shown, per person, over minutes."""
    there = {
        name for example in examples for what in ("truth", "shown") for _, _, name in example[what]
    }
    names = [*labels, *sorted(there - set(labels))]
    figure = Figure(figsize=(11, 0.6 + 1.3 * len(examples)), layout="constrained")
    rows = np.atleast_1d(figure.subplots(len(examples), 1))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    colours["unknown"] = "0.85"
    for axes, example in zip(rows, examples, strict=True):
        for height, what in ((1, "truth"), (0, "shown")):
            _bars(axes, example[what], height, colours)
        axes.set_yticks((0, 1), ("shown", "truth"))
        axes.set_ylim(-0.45, 1.45)
        axes.set_title(f"person {example['person']}", fontsize=9, loc="left")
    rows[-1].set_xlabel("minutes")
    handles = [rows[0].barh(0, 0, color=colours[name], label=name) for name in names]
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(len(names), 8), frameon=False
    )
    return _png(figure)


def _bars(
    axes: Axes, bouts: Sequence[Sequence[Any]], height: int, colours: Mapping[str, str]
) -> None:
    for begin_s, end_s, name in bouts:
        axes.barh(
            height, (end_s - begin_s) / 60, left=begin_s / 60, height=0.8, color=colours[name]
        )


def _png(figure: Figure) -> bytes:
    canvas, buffer = FigureCanvasAgg(figure), BytesIO()
    canvas.print_figure(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
