"""`hard simulate` and `hard bench`: what can be tried without a sensor."""

from __future__ import annotations

import json
import threading
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Any

import typer

from hard.commands.options import JsonOption  # noqa: TC001 - typer reads the annotations
from hard.commands.terminal import BAD_USAGE, INTERRUPTED, fail, on_interrupt, progress

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="\b\nExamples:\n"
    "  hard simulate day.csv\n"
    "  hard simulate walk.csv --script walking:60 --script sitting:30 --seed 7"
)
def simulate(
    out: Annotated[Path, typer.Argument(help="The CSV to write.")],
    *,
    script: Annotated[
        list[str] | None, typer.Option(help="activity:seconds, in order; repeat the option.")
    ] = None,
    placement: Annotated[str, typer.Option(help="pocket or waist.")] = "pocket",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another wearer.")] = 0,
    rate: Annotated[float, typer.Option(help="Sampling rate, Hz.")] = 50.0,
    start: Annotated[str, typer.Option(help="First stamp (RFC 3339).")] = "2024-01-01T00:00:00Z",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a SYNTHETIC recording with its labels, as plain CSV."""
    from hard.outputs import PlainCsv, written_aside  # noqa: PLC0415
    from hard.plugins import PluginError, create  # noqa: PLC0415

    if out.exists() and not force:
        fail(f"{out}: there is a file of this name; give another, or --force to replace it")
    table = {
        "plugin": "simulator",
        "script": script or [],
        "placement": placement,
        "seed": seed,
        "rate_hz": rate,
        "start": start,
        "realtime": False,
    }
    stop = threading.Event()
    try:
        source: Any = create("sources", "simulate", table, "hard")
        with (
            on_interrupt(stop.set) as interrupted,
            progress() as tell,
            written_aside(out) as file,
        ):
            rows = PlainCsv(file)

            def write(message: Any) -> None:
                rows.write(message)
                if tell is not None:
                    tell(rows.rows / rate)

            source.run(write, stop)
    except PluginError as error:
        fail(
            "; ".join(f"{key}: {fault}" if key else fault for key, fault in error.faults), BAD_USAGE
        )
    except OSError as error:
        fail(f"{out}: can't be written: {error.strerror}")
    typer.echo(f"{out}: {rows.rows} synthetic rows, {rows.rows / rate:.0f} s", err=True)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


@app.command(
    epilog="\b\nExamples:\n  hard bench\n  hard bench --hours 10\n  hard bench day.csv --json"
)
def bench(
    file: Annotated[Path | None, typer.Argument(help="A recording; else one is simulated.")] = None,
    *,
    hours: Annotated[float, typer.Option(min=0.01, max=100, help="Length to simulate.")] = 1.0,
    model: Annotated[str, typer.Option(help="Bundled model, or the path of a card.")] = "pocket",
    live: Annotated[
        float, typer.Option(min=0, help="Also run the daemon on a 50 Hz stream so long (s).")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Measure what the pipe costs on this machine."""
    from hard.api import UnusableInput  # noqa: PLC0415
    from hard.bench import measure  # noqa: PLC0415
    from hard.card import ModelRefused  # noqa: PLC0415

    try:
        figures = measure(file, hours=hours, model=model, live_s=live)
    except (UnusableInput, ModelRefused) as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        typer.echo(f"{name:42} {value:>12}")
