"""Puts the daemon in place as a service of systemd, and takes it away again: plans, then does it.

A plan is a list of steps that can be read before anything happens; nothing here asks, prints or
exits.  Not the unit itself (that is `systemd/hard.service`) and not the talk with the service
manager while it runs (`hard.systemd`).  `hard service` is the only caller.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "HOME",
    "Places",
    "ServiceError",
    "Step",
    "install_plan",
    "shipped",
    "source_of_this",
    "uninstall_plan",
    "unit_of",
]

HOME = Path("/opt/hard")
"""Where the service lives: its sandbox sees no home directory, so a checkout's .venv won't do."""
DISTRIBUTION = "hard-daemon"
_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_LOCK = "constraints.txt"
_VERSIONS = ((3, 11), (3, 12), (3, 13))
_SECRET = "hard-mqtt-password"  # noqa: S105 - its name in the credential store


class ServiceError(Exception):
    """It can't be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: what it is, and the doing.  `shown` is the command or the file."""

    what: str
    shown: str
    do: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go; `root` is another than / in tests and in images that are being made."""

    root: Path = Path("/")

    def at(self, path: str | Path) -> Path:
        """Return an absolute path below the root."""
        return self.root / Path(path).relative_to("/")

    def unit(self, instance: str | None) -> Path:
        """Return the file of the unit; all instances but the first share one."""
        return self.at("/etc/systemd/system/hard@.service" if instance else _UNIT)

    def has_unit(self, instance: str | None) -> bool:
        """Tell whether the unit of an instance is there, put in place by us or by the package."""
        unit = self.unit(instance)
        return unit.exists() or self.at(f"/usr/lib/systemd/system/{unit.name}").exists()

    def configuration(self, instance: str | None) -> Path:
        """Return the configuration of an instance."""
        return self.at(f"/etc/hard/{instance or 'hard'}.toml")

    def state(self, instance: str | None) -> list[Path]:
        """Return where systemd keeps the state of an instance: a link, and what it leads to."""
        name = f"hard-{instance}" if instance else "hard"
        return [self.at(f"/var/lib/{name}"), self.at(f"/var/lib/private/{name}")]


_UNIT = "/etc/systemd/system/hard.service"
_RULES = "/etc/udev/rules.d/60-hard-serial.rules"
_SCRIPT = "/usr/local/bin/hard"


def unit_of(instance: str | None) -> str:
    """Return the name of an instance's unit; raise ServiceError for a name that can't be one."""
    if instance is None:
        return "hard.service"
    if not _INSTANCE.match(instance):
        raise ServiceError(f"{instance!r}: an instance is named by A-Z, a-z, 0-9, - and _")
    return f"hard@{instance}.service"


def shipped(name: str) -> Path:
    """Return a file of `systemd/` as it was installed, or as it lies in the checkout."""
    installed = Path(sysconfig.get_path("data"), "share", "hard", name)
    checkout = Path(__file__).parents[1] / "systemd" / name
    for path in (checkout, installed):
        if path.is_file():
            return path
    raise ServiceError(f"{installed}: missing: install {DISTRIBUTION} again")


def source_of_this() -> str:
    """Return what pip would install this very program from: a checkout, a wheel, or its name."""
    found = distribution(DISTRIBUTION)
    direct = found.read_text("direct_url.json")
    if direct:
        url = urlsplit(json.loads(direct)["url"])
        path = Path(unquote(url.path))
        if url.scheme == "file" and path.exists():
            return str(path)
    return f"{DISTRIBUTION}=={found.version}"


def install_plan(
    places: Places,
    *,
    instance: str | None = None,
    source: str | None = None,
    wheels: Path | None = None,
    secret: str | None = None,
    start: bool = True,
) -> list[Step]:
    """Return what puts the service in place, in order.  What is there and right is left out.

    `source` is what pip installs (None: what this program came from, or the one in `wheels`),
    `wheels` a folder to install from without a network, `secret` the broker's password.  A
    configuration that is there is never touched.
    """
    unit = unit_of(instance)
    steps = [*_program(source, wheels), *_files(places, instance)]
    if secret is not None:
        store = places.at(f"/etc/credstore/{_SECRET}")
        steps.append(Step("keep the broker's password", str(store), lambda: _keep(store, secret)))
    if places.root == Path("/"):
        steps.append(_run("tell systemd", "systemctl", "daemon-reload"))
        steps.append(_run("tell udev", "udevadm", "control", "--reload", optional=True))
        verb = ["enable", *(["--now"] if start else [])]
        steps.append(_run("start it, now and at boot", "systemctl", *verb, unit))
    return steps


def uninstall_plan(
    places: Places, *, instance: str | None = None, purge: bool = False
) -> list[Step]:
    """Return what takes the service away; with `purge` also configuration, state and password."""
    unit = unit_of(instance)
    steps: list[Step] = []
    if places.root == Path("/"):
        steps.append(
            _run("stop it", "systemctl", "disable", "--now", "--quiet", unit, optional=True)
        )
    gone = [places.unit(instance)]
    if instance is None:
        gone += [places.at(_RULES), places.at(_SCRIPT)]
    if purge:
        gone += [places.configuration(instance), *places.state(instance)]
        if instance is None:
            gone += [places.at(f"/etc/credstore/{_SECRET}"), places.at("/etc/hard")]
            gone.append(places.at(HOME))
    steps += [_removal(path) for path in gone if _is_there(path)]
    if places.root == Path("/"):
        steps.append(_run("tell systemd", "systemctl", "daemon-reload"))
    return steps


# -- steps ---------------------------------------------------------------------------------------


def _program(source: str | None, wheels: Path | None) -> list[Step]:
    """Return what installs the program into HOME; nothing where this is the one in HOME."""
    if Path(sys.prefix) == HOME and source is None:
        return []
    python = _interpreter()
    pip = [str(HOME / "bin/python"), "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check"]
    lock = shipped(_LOCK)
    if lock.is_file():
        pip += ["--constraint", str(lock)]
    if wheels is not None:
        pip += ["--no-index", "--find-links", str(wheels.absolute())]
    what = source or (source_of_this() if wheels is None else DISTRIBUTION)
    # No index has numpy's wheel for 32-bit ARM: there it is Debian's.
    seen = ["--system-site-packages"] if platform.machine() == "armv7l" else []
    return [
        _run("make its environment", python, "-m", "venv", "--clear", *seen, str(HOME)),
        _run("install the program", *pip, what),
    ]


def _interpreter() -> str:
    """Return a Python that a service may run: not in somebody's home, of a version that we know."""
    seen = []
    names = [f"python{major}.{minor}" for major, minor in _VERSIONS]
    for path in ("/usr/bin/python3", *(f"/usr/bin/{name}" for name in names)):
        found = _version_of(path)
        if found in _VERSIONS:
            return path
        if found is not None:
            seen.append(f"{path} is {found[0]}.{found[1]}")
    known = ", ".join(f"{major}.{minor}" for major, minor in _VERSIONS)
    told = f" ({'; '.join(seen)})" if seen else ""
    raise ServiceError(
        f"the service needs Python {known} in /usr/bin{told}: apt-get install python3 python3-venv"
    )


def _version_of(python: str) -> tuple[int, int] | None:
    """Return major and minor version of an interpreter that has its venv module, None without."""
    asked = [python, "-c", "import ensurepip, sys; print(*sys.version_info[:2])"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout  # noqa: S603 - fixed paths
        major, minor = map(int, told.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return major, minor


def _files(places: Places, instance: str | None) -> list[Step]:
    unit = "hard@.service" if instance else "hard.service"
    wanted = [
        (shipped(unit), places.unit(instance), "the unit", True),
        (shipped("60-hard-serial.rules"), places.at(_RULES), "stable names of serial ports", True),
        (shipped("hard.toml"), places.configuration(instance), "the configuration", False),
    ]
    steps = [
        Step(f"install {what}", str(there), lambda a=file, b=there: _copy(a, b))  # type: ignore[misc] # mypy does not infer defaults of a lambda
        for file, there, what, anew in wanted
        if not there.exists() or (anew and there.read_bytes() != file.read_bytes())
    ]
    script = places.at(_SCRIPT)
    if not _is_there(script):
        target = HOME / "bin/hard"
        steps.append(Step("put `hard` on the path", str(script), lambda: _link(script, target)))
    return steps


def _run(what: str, *command: str, optional: bool = False) -> Step:
    def do() -> None:
        if optional and shutil.which(command[0]) is None:
            return
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        if done.returncode and not optional:
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise ServiceError(f"{' '.join(command)}: {said}")

    return Step(what, " ".join(command), do)


def _removal(path: Path) -> Step:
    return Step("remove", str(path), lambda: _remove(path))


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _copy(file: Path, there: Path) -> None:
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(file.read_bytes())
    there.chmod(0o644)


def _link(script: Path, target: Path) -> None:
    script.parent.mkdir(parents=True, exist_ok=True)
    script.symlink_to(target)


def _keep(store: Path, secret: str) -> None:
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.touch(mode=0o600)
    store.chmod(0o600)
    store.write_text(f"{secret}\n", "utf-8")


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def done(steps: Sequence[Step], tell: Callable[[Step], None]) -> None:
    """Do the steps in order, telling each before; raise ServiceError where one fails."""
    for step in steps:
        tell(step)
        try:
            step.do()
        except OSError as error:
            raise ServiceError(f"{step.shown}: {error.strerror or error}") from error
