"""What systemd and a service tell each other: readiness, status, watchdog, directories.

Not a unit (that is `systemd/hard.service`) and not a decision: `hard.runtime` says when to notify,
`hard.commands.live` and `hard.doctor` ask where state and secrets are.  Outside systemd every
function is quiet: nothing is sent, nothing is found.
"""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

__all__ = ["credential", "notify", "state_directory", "watchdog_interval_s"]

_log = logging.getLogger(__name__)


def notify(*assignments: str) -> None:
    """Send assignments ("READY=1", "STATUS=...", "WATCHDOG=1") to the service manager.

    Does nothing without NOTIFY_SOCKET and never raises: a manager that does not listen must not
    stop the service.  An assignment is one line: a newline in it becomes a space.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a name in the abstract namespace, which has no file
        address = f"\0{address[1:]}"
    message = "\n".join(line.replace("\n", " ") for line in assignments)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(0.2)  # a full queue must not hold the supervising thread
            manager.sendto(message.encode(), address)
    except OSError as err:
        _log.debug("NOTIFY_SOCKET %r does not listen: %s", address, err)


def watchdog_interval_s() -> float | None:
    """Return how often, at the least, WATCHDOG=1 is expected; None when this process is not it."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() and int(text) > 0 else None


def credential(name: str) -> Path | None:
    """Return the file of a LoadCredential= of this name; None when there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    path = Path(folder, name)
    return path if folder and path.is_file() else None


def state_directory() -> Path | None:
    """Return the first directory of StateDirectory=; None outside such a service."""
    first = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(first) if first else None
