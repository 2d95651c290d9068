"""What `hard evaluate --plot` draws: truth above result, or the trade-off of a grid, as PNG.

Called by the command line, which makes sure that matplotlib is there.
"""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from hard.api import NS_PER_S
from hard.evaluation import on_front
from hard.outputs import written_aside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hard.evaluation import Trial
    from hard.scoring import Segment, Shown

__all__ = ["draw_grid", "draw_truth"]

_GREY = {"unknown": "0.75", "still": "0.55", "off_body": "0.35"}
_NAMED_TRIALS = 12


def draw_truth(
    path: Path, truth: Mapping[str, Sequence[Segment]], shown: Mapping[str, Sequence[Shown]]
) -> None:
    """Draw for each stream what was true above what was shown; raises OSError."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import
    from matplotlib.patches import Patch  # noqa: PLC0415

    figure = Figure(figsize=(16, 1.2 + 1.6 * len(truth)), layout="constrained")
    axes = figure.subplots(len(truth), 1, squeeze=False)[:, 0]
    names = {s.label for segments in truth.values() for s in segments}
    names |= {b.activity for stream in truth for b in shown.get(stream, ())}
    colours = dict(_GREY)
    for i, name in enumerate(sorted(names - _GREY.keys())):
        colours[name] = f"C{i % 10}"
    for axis, (stream, segments) in zip(axes, truth.items(), strict=True):
        bouts = shown.get(stream, ())
        base = min([s.t_start for s in segments] + [b.t_start for b in bouts])
        _bars(axis, 1, [(s.t_start - base, s.t_end - base, colours[s.label]) for s in segments])
        _bars(axis, 0, [(b.t_start - base, b.t_end - base, colours[b.activity]) for b in bouts])
        axis.set_yticks([0, 1], ["shown", "true"])
        axis.set_title(stream, loc="left")
        axis.margins(x=0)
    axes[-1].set_xlabel("minutes since the begin")
    patches = [Patch(color=colours[name], label=name) for name in sorted(names)]
    figure.legend(handles=patches, loc="outside upper right", ncols=max(len(patches), 1))
    _write(figure, path)


def _bars(axis: Any, row: int, spans: Sequence[tuple[int, int, str]]) -> None:
    minute_ns = 60 * NS_PER_S
    axis.broken_barh(
        [(begin / minute_ns, (end - begin) / minute_ns) for begin, end, _ in spans],
        (row - 0.4, 0.8),
        facecolors=[colour for *_, colour in spans],
    )


def draw_grid(path: Path, trials: Sequence[Trial]) -> None:
    """Draw delay against false events, the share found as colour; raises OSError.

    The line joins the trials that nothing beats in all three; a few of them are named.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 7), layout="constrained")
    axis = figure.subplots()
    costs = [trial.cost for trial in trials]
    points = [(rate, delay_s if isfinite(delay_s) else nan) for rate, _, delay_s in costs]
    found = [1 - missed for _, missed, _ in costs]
    dots = axis.scatter(
        [x for x, _ in points],
        [y for _, y in points],
        c=found,
        s=40,
        vmax=1,
        vmin=min([0.5, *found]),
    )
    best = [i for i, is_best in enumerate(on_front(trials)) if is_best]
    best.sort(key=lambda i: points[i])
    axis.plot([points[i][0] for i in best], [points[i][1] for i in best], color="0.6", zorder=0)
    for i in best[:: 1 + len(best) // _NAMED_TRIALS]:
        text = ", ".join(f"{key} {value}" for key, value in trials[i].changes.items())
        axis.annotate(text, points[i], xytext=(5, 5), textcoords="offset points", fontsize=8)
    axis.set_xlabel("false events an hour of labelled time")
    axis.set_ylabel("median onset delay, s")
    figure.colorbar(dots, label="share of true segments found")
    _write(figure, path)


def _write(figure: Any, path: Path) -> None:
    with written_aside(path, "wb") as png:
        figure.savefig(png, format="png", dpi=100)
