"""What several commands take on the command line, as types that typer reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AccelUnitOption",
    "ConfigOption",
    "FormatOption",
    "GyroUnitOption",
    "JsonOption",
    "PlatformOption",
    "RateOption",
    "StartOption",
    "reading_options",
]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        help="Configuration file (TOML); else ./hard.toml, else /etc/hard/hard.toml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

RateOption = Annotated[
    float | None, typer.Option("--rate", help="Sampling rate of what has no stamps, Hz.")
]
AccelUnitOption = Annotated[
    str | None,
    typer.Option("--accel-unit", help="m/s2 (the default) or g, where the format leaves it open."),
]
GyroUnitOption = Annotated[
    str | None,
    typer.Option(
        "--gyro-unit", help="rad/s (the default) or deg/s, where the format leaves it open."
    ),
]
FormatOption = Annotated[
    str, typer.Option("--format", help="auto, or a name as in `hard inspect`: plain, wt901 …")
]
PlatformOption = Annotated[
    str | None,
    typer.Option("--platform", help="ios or android, where the recording does not say."),
]
StartOption = Annotated[
    str | None,
    typer.Option("--start", help="When a recording without dates began (RFC 3339)."),
]


def reading_options(
    *,
    rate: float | None,
    accel_unit: str | None,
    gyro_unit: str | None,
    file_format: str,
    platform: str | None,
    start: str | None,
) -> dict[str, Any]:
    """Return the options of the `file` source that were given."""
    options = {
        "format": file_format,
        "rate_hz": rate,
        "accel_unit": accel_unit,
        "gyro_unit": gyro_unit,
        "platform": platform,
        "start": start,
    }
    return {key: value for key, value in options.items() if value is not None}
