"""What a first configuration consists of: senders that `hard init` knows, the text it writes.

Pure: nothing is asked, opened or written here.  What a plugin's options mean stands in its README;
here is only which of them a sender needs, and what its owner has to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hard.card import ModelCard, ModelRefused, bundled
from hard.configfile import toml_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LOCKED", "SENDERS", "Broker", "Sender", "Setup", "model_for", "placements"]

LOCKED: Final = (
    "A phone that stops sending when it is locked, or when another app is in front: on Android "
    "take the app out of battery optimisation (its app info: Battery: Unrestricted); on an iPhone "
    "leave it in front with Auto-Lock off (Sensor Logger may go on while it records Location, "
    "too).  While nothing comes hard says no_data, never that somebody stands still."
)
_SWITCH_ON: Final = (
    "switch on Accelerometer, Gravity and Gyroscope (on Android Total Acceleration will do for the "
    "first two)"
)


@dataclass(frozen=True, slots=True)
class Sender:
    """A kind of phone app or sensor: its source plugin, the options it always has, what to ask.

    `asks` names the options to be asked for: platform, phone (host and port) or serial; `steps` is
    what its owner does, with {host}, {port}, {url} and {topic} to be filled in.
    """

    title: str
    plugin: str
    table: Mapping[str, Any] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    steps: str = ""
    is_phone: bool = True

    @property
    def needs_broker(self) -> bool:
        """Whether it sends to a broker."""
        return self.plugin == "mqtt"


SENDERS: Final[Mapping[str, Sender]] = {
    "sensor-logger": Sender(
        "a phone with the app Sensor Logger, over MQTT",
        "mqtt",
        {"topics": ["sensor-logger"]},
        ("platform",),
        "In Sensor Logger: Settings, Data Streaming, MQTT: address {host}, port {port}, topic "
        f"sensor-logger; on its first page {_SWITCH_ON}; then start a recording.",
    ),
    "sensor-logger-http": Sender(
        "a phone with the app Sensor Logger, over HTTP push (no broker needed for it)",
        "http",
        {"host": "0.0.0.0", "port": 8080, "path": "/{stream}"},  # noqa: S104 - with a token only
        ("platform", "token"),
        "In Sensor Logger: Settings, Data Streaming, HTTP Push: the URL {url}; on its first page "
        f"{_SWITCH_ON}; then start a recording.",
    ),
    "phyphox": Sender(
        "a phone with the app phyphox and its remote access",
        "phyphox",
        {},
        ("phone",),
        "In phyphox: open Acceleration with g, or an experiment of accelerometer and gyroscope; in "
        "its menu allow remote access; press play and keep the screen on.",
    ),
    "sensorserver": Sender(
        "an Android phone with the app SensorServer",
        "ws",
        {},
        ("phone",),
        "In SensorServer: set the sampling rate to Game or Fastest, then press Start.",
    ),
    "sensorspot": Sender(
        "an Android phone with the app SensorSpot, over MQTT",
        "mqtt",
        {"topics": ["android/{stream}"], "format": "android"},
        (),
        "In SensorSpot: Settings: broker {host}, port {port}, MQTT 5, topic android/phone-1 "
        "(another for each phone); select accelerometer and gyroscope, at the fastest rate.",
    ),
    "json": Sender(
        "a board or program of your own that sends plain JSON over MQTT",
        "mqtt",
        {"topics": ["sensors/{stream}/imu"], "format": "plain"},
        (),
        "Let it publish to {host}, port {port}, topic sensors/NAME/imu: "
        '{{"samples": [{{"t": NANOSECONDS_SINCE_1970, "accel": [0, 0, 9.81], '
        '"gyro": [0, 0, 0]}}]}}',
        is_phone=False,
    ),
    "serial": Sender(
        "an IMU at a serial port (WitMotion, BNO08x, Arduino, Razor, VectorNav)",
        "serial",
        {},
        ("serial",),
        "A WitMotion sends 10 readings a second out of the box, too few: hard_serial's README has "
        "the commands that make it 100.",
        is_phone=False,
    ),
    "simulator": Sender(
        "no sensor yet: a simulated wearer, to see how it works",
        "simulator",
        {"script": ["standing:30", "walking:60", "sitting:60"]},
        (),
        "",
        is_phone=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to log in; `password_file` as a configuration has it."""

    host: str
    port: int = 1883
    tls: bool = False
    ca_file: str | None = None
    user: str | None = None
    password_file: str | None = None

    def table(self) -> dict[str, Any]:
        """Return the options of source and sink; what is the default is left out."""
        found: dict[str, Any] = {"host": self.host}
        if self.port != 1883:
            found["port"] = self.port
        if self.tls:
            found["tls"] = True
        named = {
            "ca_file": self.ca_file,
            "username": self.user,
            "password_file": self.password_file,
        }
        return found | {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Setup:
    """All answers; `options` are those of the source beside what its sender always has."""

    node: str
    sender: Sender
    options: Mapping[str, Any]
    broker: Broker | None
    placement: str
    model: str
    timezone: str
    state_dir: str | None
    events_file: str

    def source(self) -> dict[str, Any]:
        """Return the table of the source."""
        broker = self.broker.table() if self.broker and self.sender.needs_broker else {}
        return {"plugin": self.sender.plugin, **broker, **self.sender.table, **self.options}

    def sink(self) -> dict[str, Any]:
        """Return the table of the sink: the broker, else a file."""
        if self.broker is None:
            return {"plugin": "jsonl", "path": self.events_file}
        return {"plugin": "mqtt", **self.broker.table()}

    def text(self) -> str:
        """Return the configuration."""
        state = {} if self.state_dir is None else {"state_dir": self.state_dir}
        rule = {"match": "*", "placement": self.placement, "timezone": self.timezone}
        return "\n".join(
            [
                "# Made by `hard init`.  `hard check` tells what is in force; systemd/hard.toml of",
                "# hard's sources has every setting.",
                *_table("[hard]", {"node": self.node, **state}),
                *_table("[model]", {"name": self.model}),
                "",
                "# The first match wins: put other streams above.",
                *_table("[[streams]]", rule)[1:],
                *_table(f"[sources.{'phone' if self.sender.is_phone else 'imu'}]", self.source()),
                *_table(f"[sinks.{'home' if self.broker else 'log'}]", self.sink()),
                "",
            ]
        )


def _table(header: str, values: Mapping[str, Any]) -> list[str]:
    return ["", header, *(f"{key} = {toml_value(value)}" for key, value in values.items())]


def _cards(installed: Iterable[str]) -> Iterable[ModelCard]:
    for name in (*bundled(), *installed):
        try:
            yield ModelCard.load(name)[0]
        except ModelRefused:
            continue  # nobody asked for this one


def placements(installed: Iterable[str] = ()) -> list[str]:
    """Return where the models know a device to be worn."""
    return list(dict.fromkeys(card.placement for card in _cards(installed)))


def model_for(placement: str, installed: Iterable[str] = ()) -> str:
    """Return the model to begin with: one that minds least how the device sits, with a gyroscope.

    Where a stream has none, the daemon finds another by itself.  Raises KeyError for a placement
    that no model knows.
    """
    fitting = [card for card in _cards(installed) if card.placement == placement]
    if not fitting:
        raise KeyError(placement)
    best = max(fitting, key=lambda card: (card.input.uses_gyro, card.input.frame == "upright"))
    return best.name
