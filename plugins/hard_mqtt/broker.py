"""What source and sink share about a broker: its configuration, login, and why it said no.

It opens nothing by itself; `MqttSource` and `MqttSink` own their connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Annotated, Literal, Self, cast

from paho.mqtt.client import Client, WebsocketConnectionError
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pydantic import Field, model_validator

from hard.api import PluginConfig
from hard_formats.credentials import CredentialError, credential_path, first_line, open_to_others

if TYPE_CHECKING:
    import logging

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TCP_TIMEOUT_S = 3.0
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
UNSUPPORTED_VERSION = 0x84
_UNSPECIFIED = 0x80
_BAD_LOGIN = 0x86
_NOT_AUTHORIZED = 0x87
KEEP_ALIVE_TIMEOUT = 0x8D
_SESSION_TAKEN_OVER = 0x8E
# X509_V_ERR_…: not yet valid, expired; the name, the address is another
_NOT_VALID_NOW = {9, 10}
_OTHER_HOST = {62, 64}


class BrokerConfig(PluginConfig):
    """Where the broker is and how to log in."""

    host: str = Field("localhost", min_length=1)
    port: int = Field(1883, ge=1, le=65535)
    username: str | None = None
    password_file: str | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    transport: Literal["tcp", "websockets"] = "tcp"
    ws_path: str = Field("/mqtt", pattern=r"^/[!-~]*$")
    tls: bool = False
    ca_file: str | None = None
    client_cert: Annotated[Path, Field(strict=False)] | None = None
    client_key: Annotated[Path, Field(strict=False)] | None = None
    keepalive_s: int = Field(20, ge=2, le=3600)
    client_id: str | None = Field(None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.tls:
            for key in ("ca_file", "client_cert", "client_key"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} has no effect without tls = true")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key needs client_cert, the certificate that belongs to it")
        if "ws_path" in self.model_fields_set and self.transport != "websockets":
            raise ValueError('ws_path has no effect without transport = "websockets"')
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the broker is on this machine."""
        return self.host in _LOOPBACK

    @property
    def address(self) -> str:
        """Host and port for messages."""
        return f"{self.host}:{self.port}"

    @property
    def who(self) -> str:
        """The user for messages."""
        return "an anonymous client" if self.username is None else f"user {self.username!r}"


class BrokerAwayError(Exception):
    """No connection, with the reason and the remedy; source and sink say it in their own error."""


class BrokerClient(Client):
    """A paho client of one connection: set up from the configuration, it never reconnects."""

    def __init__(self, config: BrokerConfig, client_id: str) -> None:
        self.config = config
        self.id = config.client_id or client_id
        self.answered = False
        """Whether the broker ever answered the CONNECT; set by whoever takes the answer."""
        super().__init__(
            CallbackAPIVersion.VERSION2,
            self.id,
            protocol=_VERSIONS[config.protocol],
            transport=config.transport,
            reconnect_on_failure=False,
        )
        self.connect_timeout = _TCP_TIMEOUT_S
        if config.transport == "websockets":
            self.ws_set_options(config.ws_path)

    def dial(self, properties: Properties | None = None) -> None:
        """Open the connection and send CONNECT; raise BrokerAwayError if that fails.

        The answer (CONNACK) comes by `on_connect`.  A dead link shows after two of paho's
        keepalives and a turn of its loop, hence the second less than configured.
        """
        config = self.config
        if config.username is not None:
            self.username_pw_set(config.username, read_password(config.password_file))
        if config.tls:
            self.tls_set_context(tls_context(config))
        try:
            keepalive_s = config.keepalive_s - 1
            self.connect(config.host, config.port, keepalive_s, properties=properties)
        except (OSError, UnicodeError) as error:
            failure = why_no_connection(config, error)
        else:
            return
        # Without the cause: its frames would keep the socket of a failed handshake open.
        raise BrokerAwayError(failure)

    def explain(self, reason: ReasonCode) -> str:
        """Say why the broker refused or ended the connection, and what to do about it."""
        config = self.config
        if reason.value in {_BAD_LOGIN, _NOT_AUTHORIZED}:
            return (
                f"the broker at {config.address} refused {config.who} ({reason}): check username "
                "and password_file"
            )
        if reason.value == UNSUPPORTED_VERSION:
            return (
                f"the broker at {config.address} does not speak MQTT {config.protocol}: set "
                'protocol = "3.1.1"'
            )
        ended = f"the connection of {self.id!r} to the broker at {config.address} ended ({reason})"
        if not self.answered and reason.value == KEEP_ALIVE_TIMEOUT:
            return (
                f"the broker at {config.address} accepts but does not answer: is it stuck or busy?"
            )
        if not self.answered:
            return f"{ended} before any answer: {_of_the_other_kind(config)}"
        if reason.value in {_UNSPECIFIED, _SESSION_TAKEN_OVER}:  # mosquitto 2.0 gives no reason
            return (
                f"{ended}; if it does so again and again, give each client a client_id of its own"
            )
        return ended

    def release(self) -> None:
        """Close what is open once no thread runs the loop: paho leaves it to the collector."""
        self._reset_sockets()

    def cut(self) -> None:
        """End the TCP connection, whatever state it is in; safe from any thread.

        The next turn of paho's loop notices and closes the socket.
        """
        with contextlib.suppress(OSError):  # already closed
            sock = cast("socket.socket | None", self.socket())
            if sock is not None:
                # By its number: a WebSocket's wrapper has no shutdown, and TLS need not agree.
                with socket.socket(fileno=os.dup(sock.fileno())) as bare:
                    bare.shutdown(socket.SHUT_RDWR)


def spoken_in_3_1_1(config: BrokerConfig, log: logging.Logger, name: str) -> BrokerConfig:
    """Return how to speak to a broker that knows no MQTT 5, and say so."""
    log.warning(
        "%s: the broker at %s does not speak MQTT 5: going on with 3.1.1, with which nobody is told"
        ' what its ACL denies (protocol = "3.1.1" spares the attempt)',
        *(name, config.address),
    )
    return config.model_copy(update={"protocol": "3.1.1"})


def why_no_connection(config: BrokerConfig, error: Exception) -> str:
    """Say what kept a connection from being opened, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the broker at {config.address} is not trusted "
            f"({error.verify_message}): {_certificate_remedy(config, error.verify_code)}"
        )
    if isinstance(error, ssl.SSLError) or (config.tls and isinstance(error, ConnectionResetError)):
        return (
            f"no TLS with {config.address} ({error}): is this the broker's port for TLS (often "
            "8883)? A plaintext port needs tls = false"
        )
    if isinstance(error, WebsocketConnectionError):
        return (
            f"no WebSocket at {config.address}{config.ws_path} ({error}): is this the broker's "
            'port for WebSockets, is ws_path right? Another port needs transport = "tcp"'
        )
    return f"no MQTT broker at {config.address} ({error}): is it running, are host and port right?"


def _certificate_remedy(config: BrokerConfig, verify_code: int) -> str:
    if verify_code in _NOT_VALID_NOW:
        return "renew it, or set this machine's clock"
    if verify_code in _OTHER_HOST:
        return f"set host to a name that stands in it, not {config.host!r}"
    if config.ca_file is None:
        return "set ca_file to the certificate of the authority that signed it"
    return f"ca_file {config.ca_file!r} is not of the authority that signed it"


def _of_the_other_kind(config: BrokerConfig) -> str:
    if config.tls:
        return "does it ask for a client certificate (client_cert, client_key)?"
    if config.transport == "websockets":
        return "is this the broker's port for WebSockets, and not one for TLS?"
    return 'is this its plaintext port (else set tls = true or transport = "websockets")?'


def tls_context(config: BrokerConfig) -> ssl.SSLContext:
    """Return how to verify the broker and who we are; raise BrokerAwayError naming file and key."""
    key, name = "ca_file", config.ca_file
    try:
        ca = None if name is None else str(credential_path(key, name))
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        # Python 3.13 began to ask for extensions that home-made certificates lack (those made as
        # mosquitto's manual says); trust, dates and name are verified all the same.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if config.client_cert is not None:
            key, name = "client_cert", str(config.client_cert)
            cert = credential_path(key, name)
            cert.read_bytes()  # load_cert_chain does not say which of its files is missing
            if config.client_key is not None:
                key, name = "client_key", str(config.client_key)
            # The empty password keeps OpenSSL from asking on the terminal.
            context.load_cert_chain(cert, credential_path(key, name), password="")
    except CredentialError as error:
        raise BrokerAwayError(str(error)) from error
    except OSError as error:  # SSLError is one
        raise BrokerAwayError(
            f"{key} {name!r} can't be used ({error}): it must be a readable PEM file"
            f"{' without a password that fits client_cert' if key == 'client_key' else ''}"
        ) from error
    return context


def read_password(password_file: str | None) -> str | None:
    """Return the first line of a file; raise BrokerAwayError naming it if it can't be read."""
    if password_file is None:
        return None
    try:
        return first_line("password_file", password_file)
    except CredentialError as error:
        raise BrokerAwayError(str(error)) from error


def insecurities(config: BrokerConfig) -> list[str]:
    """Say what others on this machine or on the network can read."""
    found = []
    if not config.is_loopback and not config.tls:
        found.append(
            f"MQTT to {config.address} is not encrypted: whoever shares the network can read "
            "motion data and password; set tls = true or keep it to a network you trust"
        )
    key = None if config.client_key is None else str(config.client_key)
    files = {"password_file": config.password_file, "client_key": key}
    found += filter(None, (open_to_others(key, name) for key, name in files.items()))
    return found
