"""Under which addresses others reach what listens on all of this machine's.

Asked of the kernel, nothing is sent.  Called by `HttpSource.probe`, which tells a person what to
type into a phone.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

_SIOCGIFADDR: Final = 0x8915  # netdevice(7): an interface's IPv4 address
_IFREQ: Final = struct.Struct("16s24x")
_GLOBAL_SCOPE: Final = "00"


def reachable(host: str) -> list[str]:
    """Return `host`, or where it stands for all addresses (0.0.0.0, ::) those, as in a URL."""
    found = {"0.0.0.0": _ipv4, "::": _ipv6}.get(host, list)()  # noqa: S104 - looked for, not bound
    return found or [f"[{host}]" if ":" in host else host]


def _ipv4() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without one
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, _IFREQ.pack(name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return [address for address in found if not address.startswith("127.")]


def _ipv6() -> list[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:  # IPv6 is switched off
        return []
    rows = (line.split() for line in lines)
    return [f"[{IPv6Address(int(row[0], 16))}]" for row in rows if row[3] == _GLOBAL_SCOPE]
