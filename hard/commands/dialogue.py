"""The talk of `hard init`: every answer is given on the command line or asked for at a terminal.

Broker and sensor are tried as `hard doctor` tries them.  Nothing is written before the end, and
then secrets and configuration together or neither; a password goes into a file of its own, which
only its owner may read.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import typer

from hard.card import installed
from hard.commands.configured import state_kept
from hard.commands.terminal import BAD_CONFIGURATION, BAD_USAGE, INTERRUPTED, fail
from hard.config import MODELS, SERVICE, ConfigError, Daemon, checked
from hard.doctor import probed, scan_sources, stage_text
from hard.outputs import written_aside
from hard.plugins import PluginError, create
from hard.service import Places, ServiceError, unit_of
from hard.setups import LOCKED, SENDERS, Broker, Sender, Setup, model_for, placements
from hard.zones import machine_zone, zone_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


__all__ = ["Given", "run"]

T = TypeVar("T")

_PASSWORD: Final = "mqtt"  # noqa: S105 - the name of the credential
_TOKEN: Final = "phone"  # noqa: S105 - likewise
_STORE: Final = "/etc/credstore"
_PROBE_S: Final = 5.0
_PATIENT_S: Final = 60.0
_BRIEF_S: Final = 3.0
_SCAN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line has of the answers."""

    config: Path
    broker: str | None
    no_broker: bool
    tls: bool | None
    ca_file: Path | None
    user: str | None
    password: bool
    password_file: str | None
    source: str | None
    platform: str | None
    phone: str | None
    serial: str | None
    serial_format: str | None
    baud: int | None
    placement: str | None
    timezone: str | None
    node: str | None
    wait_s: float | None
    test: bool
    force: bool
    yes: bool


def run(given: Given) -> NoReturn:
    """Ask, try, write; exit with 1 where a test failed, though it may be written then."""
    with tempfile.TemporaryDirectory(prefix="hard-init-") as aside:
        talk = _Talk(given, Path(aside))
        try:
            talk.may_write()
            setup, failed = talk.settled()
            talk.write(setup, failed)
        except (KeyboardInterrupt, typer.Abort):
            fail("\nnothing was written", INTERRUPTED)
    raise typer.Exit(1 if failed else 0)


def _say(text: str = "") -> None:
    typer.echo(text, err=True)


class _Talk:
    """One talk; `aside` is a folder of its own, in which secrets lie until all is written."""

    def __init__(self, given: Given, aside: Path) -> None:
        self._given, self._aside = given, aside
        self._at_terminal = sys.stdin.isatty()
        self._missing: list[str] = []
        self._before: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        self._is_service = given.config.absolute().parent == SERVICE.parent

    # -- asking ----------------------------------------------------------------------------------

    def may_write(self) -> None:
        """Exit where there is a file that may not be replaced."""
        path = self._given.config
        if not path.exists() or self._given.force:
            return
        if not self._at_terminal:
            fail(f"{path}: there is a file of this name; --force replaces it", BAD_USAGE)
        if not typer.confirm(f"{path} is there.  Replace it at the end?", err=True):
            fail("nothing was written")

    def settled(self) -> tuple[Setup, list[str]]:
        """Return the answers, and what failed of what was tried with them."""
        while True:
            setup = self.answers()
            failed = self.tried(setup) if self._given.test else self.told(setup)
            if not (failed and self._at_terminal) or self._given.yes:
                return setup, failed
            if not typer.confirm("Answer again?  Enter keeps an answer", default=True, err=True):
                return setup, failed

    def answers(self) -> Setup:
        """Return all answers; exit where there is nobody to ask."""
        given = self._given
        broker = self._broker(given)
        sender = self._sender(broker)
        options = self._options(sender)
        folder = state_kept(given.config)
        there: list[str] = []
        with contextlib.suppress(OSError):
            there = [str(card) for card in installed(folder and folder / MODELS)]
        placement = self._chosen(
            "--placement", given.placement, "Where is it worn?", placements(there)
        )
        zone = self._asked(
            "--timezone", given.timezone, "Time zone of its wearer", _zone, str(machine_zone())
        )
        node = self._asked("--node", given.node, "Name of this machine", _node, Daemon().node)
        if self._missing:
            fail(
                "there is no terminal to ask at, so these options are needed too: "
                f"{', '.join(self._missing)} (hard init --help has examples)",
                BAD_USAGE,
            )
        return Setup(
            node=node,
            sender=sender,
            options=options,
            broker=broker,
            placement=placement,
            model=model_for(placement, there),
            timezone=zone,
            state_dir=None if self._is_service else "state",
            events_file="/var/lib/hard/events.jsonl" if self._is_service else "events.jsonl",
        )

    def _asked(
        self,
        option: str,
        given: str | None,
        question: str,
        read: Callable[[str], T],
        default: str | None = None,
        needed: str | None = None,
    ) -> T:
        """Return what `read` makes of an answer; it raises ValueError with what to give instead."""
        if given is None and not self._at_terminal:
            if default is None:
                self._missing.append(needed or option)
                return None  # type: ignore[return-value] # `answers` exits before it is used
            given = default
        default = self._before.get(option, default)
        while True:
            text = given if given is not None else typer.prompt(question, default=default, err=True)
            try:
                answer = read(str(text).strip())
            except ValueError as error:
                if given is not None:
                    fail(f"{option} {text!r}: {error}", BAD_USAGE)
                _say(f"  {error}")
            else:
                self._before[option] = str(text)
                return answer

    def _chosen(self, option: str, given: str | None, question: str, choices: Sequence[str]) -> str:
        """Return one of several words."""

        def known(text: str) -> str:
            if text not in choices:
                raise ValueError(f"give one of {', '.join(choices)}")
            return text

        default = choices[0] if self._at_terminal else None
        shown = f"{question} ({', '.join(choices)})"
        return self._asked(option, given, shown, known, default, f"{option} {'|'.join(choices)}")

    def _broker(self, given: Given) -> Broker | None:
        """Return where the broker is, None for none."""
        if given.no_broker:
            return None
        question = "MQTT broker, HOST or HOST:PORT (- for none)"
        where = self._asked(
            "--broker",
            given.broker,
            question,
            _address,
            "localhost" if self._at_terminal else None,
            "--broker HOST[:PORT] or --no-broker",
        )
        if where is None:
            return None
        host, port = where
        tls = given.tls
        if tls is None:
            tls = port == 8883
            if self._at_terminal and given.broker is None:
                tls = typer.confirm("Is its port encrypted (TLS)?", default=tls, err=True)
        ca_file = None if given.ca_file is None else str(given.ca_file.absolute())
        user = given.user
        if user is None and self._at_terminal:
            question = "User there (empty for none)"
            user = self._asked("--user", None, question, str, "")
        broker = Broker(host, port or (8883 if tls else 1883), tls, ca_file, user or None)
        return replace(broker, password_file=self._password() if user else None)

    def _password(self) -> str | None:
        """Return the file of the broker's password, as a configuration has it."""
        given = self._given
        if given.password_file is not None:
            name = given.password_file
            return name if name.startswith("credential:") else str(Path(name).absolute())
        if self._at_terminal:
            word = typer.prompt("Password there", hide_input=True, err=True)
        elif given.password:
            word = sys.stdin.readline().rstrip("\r\n")
        else:
            self._missing.append("--password (the first line of stdin) or --password-file FILE")
            return None
        return self._kept(_PASSWORD, word)

    def _kept(self, name: str, secret: str) -> str:
        """Keep a secret aside; return the file that it will be in, as a configuration has it."""
        (self._aside / name).touch(mode=0o600)
        (self._aside / name).write_text(f"{secret}\n", "utf-8")
        self._secrets[name] = secret
        return f"credential:{name}" if self._is_service else f"hard-{name}-password"

    def _sender(self, broker: Broker | None) -> Sender:
        """Return what sends; where there is no broker, none that needs one."""
        may = broker is not None or bool(self._missing)  # else it is asked for in vain
        names = [name for name, sender in SENDERS.items() if may or not sender.needs_broker]
        if self._at_terminal and self._given.source is None:
            _say("What sends?")
            for name in names:
                _say(f"  {name:19} {SENDERS[name].title}")
        name = self._chosen("--source", self._given.source, "Sender", names)
        return SENDERS.get(name, SENDERS["simulator"])

    def _options(self, sender: Sender) -> dict[str, Any]:
        """Return what a sender needs to be asked."""
        given, options = self._given, dict[str, Any]()
        if "platform" in sender.asks:
            options["platform"] = self._chosen(
                "--platform", given.platform, "System of the phone", ["android", "ios"]
            )
        if "phone" in sender.asks:
            where = self._asked(
                "--phone", given.phone, "Address that the app shows, HOST:PORT", _address
            )
            if where is not None:
                options |= {"host": where[0], "port": where[1] or 8080}
        if "token" in sender.asks:
            options["token_file"] = self._kept(_TOKEN, secrets.token_hex(16))
        if "serial" in sender.asks:
            options |= self._serial()
        return options

    def _serial(self) -> dict[str, Any]:
        """Return port, format and speed: as given, else of what is found."""
        given = self._given
        if given.serial is None or given.serial_format is None:
            found = self._scanned(given.serial)
            if len(found) == 1:
                return found[0]
            if found and self._at_terminal:
                ports = [str(settings["port"]) for settings in found]
                port = self._chosen("--serial", None, "Which port", ports)
                return found[ports.index(port)]
            _say("no sensor was understood at " + (given.serial or "any serial port"))
        port = self._asked("--serial", given.serial, "Serial port (/dev/…)", _path)
        speaks = self._asked(
            "--format", given.serial_format, "What speaks there (wt901, uart_rvc, text …)", _word
        )
        return {"port": port, "format": speaks} | ({"baud": given.baud} if given.baud else {})

    def _scanned(self, port: str | None) -> list[dict[str, Any]]:
        """Return the settings of the sensors found at serial ports, or at this one."""

        def say(plugin: str) -> None:
            _say(f"{plugin}: looking, up to {_SCAN_S:g} s")

        found = []
        for _, thing in scan_sources(_SCAN_S, say, only="serial"):
            if port is None or Path(port).resolve() == Path(thing.address).resolve():
                _say(f"  {thing.address}: {thing.detail}")
                if thing.settings:
                    found.append({k: v for k, v in thing.settings.items() if k != "plugin"})
        return found

    # -- trying ----------------------------------------------------------------------------------

    def tried(self, setup: Setup) -> list[str]:
        """Try broker and sensor; return what failed, a sentence each."""
        failed = []
        if setup.broker is not None:
            _say(f"\nthe broker at {setup.broker.host}:{setup.broker.port}")
            failed = self._probed("sinks", "home", setup.sink(), setup.node, _PROBE_S)
            if failed and setup.sender.needs_broker:
                return failed
        failed += self.told(setup)
        wait_s = self._given.wait_s or (_PATIENT_S if self._at_terminal else _BRIEF_S)
        if not setup.sender.is_phone and setup.sender.plugin != "mqtt":
            wait_s = min(wait_s, _PROBE_S)
        elif self._at_terminal:
            _say(f"  waiting for it, up to {wait_s:g} s; Enter goes on without")
        return failed + self._probed("sources", "phone", setup.source(), setup.node, wait_s)

    def told(self, setup: Setup) -> list[str]:
        """Say what is to be set at the sensor; nothing of that can fail."""
        _say(f"\n{setup.sender.title}")
        for line in self._steps(setup):
            _say(f"  {line}")
        return []

    def _probed(
        self, group: Any, name: str, table: Mapping[str, Any], node: str, timeout_s: float
    ) -> list[str]:
        """Show the stages of one instance; return those that failed."""
        own = {k: str(self._aside / k) for k in self._secrets}
        files = {self._kept_as(k): path for k, path in own.items()}
        here = {k: files.get(v, v) if isinstance(v, str) else v for k, v in table.items()}
        try:
            instance = create(group, name, here, f"{node}-init")
        except PluginError as error:
            fail(error, BAD_USAGE)
        failed = []
        for stage in probed(instance, timeout_s, self._is_skipped if self._at_terminal else None):
            for line in stage_text(name, stage):
                _say(line)
            if stage.ok is False:
                failed.append(f"{stage.name}: {stage.detail}")
        return failed

    def _kept_as(self, name: str) -> str:
        return f"credential:{name}" if self._is_service else f"hard-{name}-password"

    def _is_skipped(self) -> bool:
        """Tell whether Enter was pressed."""
        if not select.select([sys.stdin], [], [], 0)[0]:
            return False
        sys.stdin.readline()
        return True

    def _steps(self, setup: Setup) -> list[str]:
        """Return what to do at the sensor."""
        if not setup.sender.steps:
            return []
        here = _own_address()
        host = setup.broker.host if setup.broker else here
        loopback = host in {"localhost", "127.0.0.1", "::1"}
        port = setup.broker.port if setup.broker else 1883
        token = self._secrets.get(_TOKEN)
        url = f"http://{here}:{setup.source().get('port')}/phone-1?token={token}"
        filled = setup.sender.steps.format(host=here if loopback else host, port=port, url=url)
        lines = [filled]
        if loopback and setup.sender.needs_broker:
            lines.append(
                "Mosquitto as installed answers this machine only: two lines of the README's part "
                "Run it live let the phone in."
            )
        return [*lines, LOCKED] if setup.sender.is_phone else lines

    # -- writing ---------------------------------------------------------------------------------

    def write(self, setup: Setup, failed: Sequence[str]) -> None:
        """Write configuration and secrets, all or nothing; tell what comes next."""
        path, text = self._given.config, setup.text()
        if self._at_terminal and not self._given.yes:
            _say(f"\n{text}")
            told = f"{len(failed)} of the tests failed.  " if failed else ""
            if not typer.confirm(f"{told}Write {path}?", default=not failed, err=True):
                fail("nothing was written")
        elif failed and not self._given.yes:
            fail("nothing was written: mend what failed, or give --yes (or --no-test)")
        files = {self._place(name): f"{word}\n" for name, word in self._secrets.items()}
        new = [file for file in (*files, path) if not file.exists()]
        try:
            for file, secret in files.items():
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with written_aside(file, permissions=0o600) as opened:
                    opened.write(secret)
            checked(path, text, ["sources", "sinks", "folders"])
            path.parent.mkdir(parents=True, exist_ok=True)  # /etc/hard, say
            with written_aside(path) as opened:
                opened.write(text)
        except BaseException as error:
            for file in new:
                file.unlink(missing_ok=True)
            if isinstance(error, ConfigError):
                fail(f"{error}\nnothing was written", BAD_CONFIGURATION)
            if isinstance(error, OSError):
                fail(f"{error.filename}: can't be written: {error.strerror}")
            raise
        self._tell(path, files, setup)

    def _place(self, name: str) -> Path:
        """Return where a secret will lie."""
        if self._is_service:
            return Places().at(f"{_STORE}/hard-{name}-password")
        return self._given.config.absolute().parent / f"hard-{name}-password"

    def _tell(self, path: Path, files: Iterable[Path], setup: Setup) -> None:
        """Say what was written and what comes next."""
        typer.echo(f"{path}: written")
        for file in files:
            typer.echo(f"{file}: written, readable by its owner only")
        if not self._is_service:
            _say(f"next: hard check -c {path}; hard run -c {path} --stdout")
        else:
            with contextlib.suppress(ServiceError):
                instance = None if path.stem == SERVICE.stem else path.stem
                unit, option = unit_of(instance), f" --instance {instance}" if instance else ""
                if Places().has_unit(instance):
                    _say(f"next: systemctl reload-or-restart {unit}; hard service status{option}")
                else:
                    _say(f"next: {sys.argv[0]} service install{option}")
            if _TOKEN in self._secrets:
                _say(
                    "the phone's token reaches the service by a drop-in (systemctl edit hard):\n"
                    f"  [Service]\n  LoadCredential={_TOKEN}:hard-{_TOKEN}-password"
                )
        if setup.broker is not None:
            _say("Home Assistant with its MQTT integration there shows each stream by itself")


# -- reading answers -----------------------------------------------------------------------------


def _address(text: str) -> tuple[str, int | None] | None:
    """Return host and port of HOST, HOST:PORT, [IPV6]:PORT; None for -."""
    if text in {"-", "none"}:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host.strip("[]") and not text.startswith("[")):
        host, port = text, ""
    host = host.strip("[]")
    if not host or any(c.isspace() or c in "/@" for c in host):
        raise ValueError("give HOST or HOST:PORT, such as localhost or 192.168.1.5:1883")
    if not port:
        return host, None
    if not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(f"{port!r} is no port: it is a number up to 65535")
    return host, int(port)


def _zone(text: str) -> str:
    zone_named(text)
    return text


def _node(text: str) -> str:
    try:
        return Daemon(node=text).node
    except ValueError as error:
        raise ValueError("up to 64 of A-Z, a-z, 0-9, - and _") from error


def _path(text: str) -> str:
    if not Path(text).exists():
        raise ValueError("there is no such port: is it plugged in?")
    return text


def _word(text: str) -> str:
    if not text:
        raise ValueError("`hard sources scan` tells it")
    return text


def _own_address() -> str:
    """Return the address under which this machine's network knows it; nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))  # documentation's network: by the default route
        return str(sock.getsockname()[0])
    return f"{socket.gethostname()}.local"
