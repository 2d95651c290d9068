"""What source and sink share about a broker: its configuration, login, and why it said no.

It opens nothing by itself; `MqttSource` and `MqttSink` own their connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pydantic import Field

from hard.api import PluginConfig

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_CREDENTIAL = "credential:"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TCP_TIMEOUT_S = 3.0
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_UNSPECIFIED = 0x80
_BAD_LOGIN = 0x86
_NOT_AUTHORIZED = 0x87
_SESSION_TAKEN_OVER = 0x8E


class BrokerConfig(PluginConfig):
    """Where the broker is and how to log in."""

    host: str = Field("localhost", min_length=1)
    port: int = Field(1883, ge=1, le=65535)
    username: str | None = None
    password_file: str | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive_s: int = Field(20, ge=2, le=3600)
    client_id: str | None = Field(None, min_length=1, max_length=128)

    @property
    def address(self) -> str:
        """Host and port for messages."""
        return f"{self.host}:{self.port}"


class BrokerAwayError(Exception):
    """No connection, with the reason and the remedy; source and sink say it in their own error."""


class BrokerClient(Client):
    """A paho client of one connection: set up from the configuration, it never reconnects."""

    def __init__(self, config: BrokerConfig, client_id: str) -> None:
        self.config = config
        self.id = config.client_id or client_id
        super().__init__(
            CallbackAPIVersion.VERSION2,
            self.id,
            protocol=_VERSIONS[config.protocol],
            reconnect_on_failure=False,
        )
        self.connect_timeout = _TCP_TIMEOUT_S

    def dial(self, properties: Properties | None = None) -> None:
        """Open the TCP connection and send CONNECT; raise BrokerAwayError if that fails.

        The answer (CONNACK) comes by `on_connect`.  A dead link shows after two of paho's
        keepalives and a turn of its loop, hence the second less than configured.
        """
        config = self.config
        if config.username is not None:
            self.username_pw_set(config.username, read_password(config.password_file))
        try:
            keepalive_s = config.keepalive_s - 1
            self.connect(config.host, config.port, keepalive_s, properties=properties)
        except (OSError, UnicodeError) as error:
            raise BrokerAwayError(
                f"no MQTT broker at {config.address} ({error}): is it running, are host and port "
                "right?"
            ) from error

    def explain(self, reason: ReasonCode) -> str:
        """Say why the broker refused or ended the connection, and what to do about it."""
        config = self.config
        if reason.value in {_BAD_LOGIN, _NOT_AUTHORIZED}:
            who = "an anonymous client" if config.username is None else f"user {config.username!r}"
            return (
                f"the broker at {config.address} refused {who} ({reason}): check username and "
                "password_file"
            )
        ended = f"the connection of {self.id!r} to the broker at {config.address} ended ({reason})"
        if reason.value in {_UNSPECIFIED, _SESSION_TAKEN_OVER}:  # mosquitto 2.0 gives no reason
            return (
                f"{ended}; if it does so again and again, give each client a client_id of its own"
            )
        return ended

    def cut(self) -> None:
        """End the TCP connection, whatever state it is in; safe from any thread.

        The next turn of paho's loop notices and closes the socket.
        """
        with contextlib.suppress(OSError):  # already closed
            sock = cast("socket.socket | None", self.socket())
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)


def read_password(password_file: str | None) -> str | None:
    """Return the first line of a file, or of the systemd credential named `credential:NAME`."""
    if password_file is None:
        return None
    if password_file.startswith(_CREDENTIAL):
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            raise BrokerAwayError(
                f"password_file {password_file!r}: $CREDENTIALS_DIRECTORY is not set; add "
                "LoadCredential= to the unit or name a file"
            )
        path = Path(folder, password_file.removeprefix(_CREDENTIAL))
    else:
        path = Path(password_file)
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeError) as error:
        raise BrokerAwayError(f"password_file {str(path)!r} can't be read: {error}") from error


def insecurities(config: BrokerConfig) -> list[str]:
    """Say what others on this machine or on the network can read."""
    found = []
    if config.host not in _LOOPBACK:
        found.append(
            f"MQTT to {config.address} is not encrypted: whoever shares the network can read "
            "motion data and password; keep it to a network you trust"
        )
    if config.password_file and not config.password_file.startswith(_CREDENTIAL):
        path = Path(config.password_file)
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            found.append(f"password_file {str(path)!r} is open to other users: chmod 600 it")
    return found
