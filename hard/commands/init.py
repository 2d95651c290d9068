"""`hard init`: a first configuration, asked for, tried and written; the talk is in `dialogue`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from hard.commands.configured import PLACES

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="\b\nExamples:\n"
    "  hard init\n"
    "  hard init --source simulator --no-broker --placement pocket --yes\n"
    "  hard init --broker localhost --source sensor-logger --platform android \\\n"
    "    --placement pocket --timezone Europe/Berlin --yes\n"
    "  hard init --broker pi.local:8883 --tls --user hard --password \\\n"
    "    --source serial --serial /dev/ttyUSB0 --format wt901 --placement waist < password.txt\n"
    "  sudo hard init -c /etc/hard/hard.toml"
)
def init(
    config: Annotated[
        Path, typer.Option("-c", "--config", help="The configuration file to write.")
    ] = PLACES[0],
    *,
    broker: Annotated[
        str | None, typer.Option(help="HOST or HOST:PORT of the MQTT broker.")
    ] = None,
    no_broker: Annotated[
        bool, typer.Option("--no-broker", help="There is none: events go into a file.")
    ] = False,
    tls: Annotated[
        bool | None, typer.Option("--tls/--no-tls", help="Whether the broker's port is encrypted.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificate of the authority that signed the broker's.")
    ] = None,
    user: Annotated[str | None, typer.Option(help='User at the broker; "" for none.')] = None,
    password: Annotated[
        bool,
        typer.Option(
            "--password", help="Ask for the password; without a terminal, the first line of stdin."
        ),
    ] = False,
    password_file: Annotated[
        str | None, typer.Option(help="A file that has the password already.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="sensor-logger, sensor-logger-http, phyphox, sensorserver, sensorspot, json, "
            "serial or simulator."
        ),
    ] = None,
    platform: Annotated[
        str | None, typer.Option(help="Of a phone with Sensor Logger: ios or android.")
    ] = None,
    phone: Annotated[
        str | None, typer.Option(help="HOST:PORT that phyphox or SensorServer shows.")
    ] = None,
    serial: Annotated[
        str | None, typer.Option(help="Serial port, such as /dev/ttyUSB0; else it is looked for.")
    ] = None,
    serial_format: Annotated[
        str | None, typer.Option("--format", help="What speaks on it: wt901, uart_rvc, text …")
    ] = None,
    baud: Annotated[int | None, typer.Option(help="Its speed, if not the usual one.")] = None,
    placement: Annotated[
        str | None, typer.Option(help="Where it is worn: pocket or waist.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of the wearer's days (IANA); else this machine's.")
    ] = None,
    node: Annotated[
        str | None, typer.Option(help="Name of this machine in topics; else its own.")
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(min=0.5, max=600, help="How long to wait for the sensor (s)."),
    ] = None,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Try broker and sensor.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Write it without asking, though a test may have failed.")
    ] = False,
) -> None:
    """Ask for broker and sensor, try them, write hard.toml."""
    from hard.commands.dialogue import Given, run  # noqa: PLC0415

    run(
        Given(
            config=config,
            broker=broker,
            no_broker=no_broker,
            tls=tls,
            ca_file=ca_file,
            user=user,
            password=password,
            password_file=password_file,
            source=source,
            platform=platform,
            phone=phone,
            serial=serial,
            serial_format=serial_format,
            baud=baud,
            placement=placement,
            timezone=timezone,
            node=node,
            wait_s=wait,
            test=test,
            force=force,
            yes=yes,
        )
    )
