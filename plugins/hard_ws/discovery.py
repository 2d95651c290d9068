"""What announces itself by mDNS; `WsSource.scan` calls it.

python-zeroconf is optional: without it nothing is found, and a line on stderr says how to get it.
"""

from __future__ import annotations

import logging
import queue
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVICE = "_websocket._tcp.local."
_log = logging.getLogger(__name__)


def services(timeout_s: float) -> Iterator[tuple[str, str, int]]:
    """Yield name, address and port of each WebSocket server that answers within `timeout_s`."""
    try:
        from zeroconf import ServiceBrowser, ServiceStateChange, Zeroconf  # noqa: PLC0415 - optional
    except ImportError:
        command = f"{sys.executable} -m pip install zeroconf"
        sys.stderr.write(f"looking for phones that announce themselves needs zeroconf: {command}\n")
        return

    names: queue.SimpleQueue[str] = queue.SimpleQueue()

    def changed(name: str, state_change: ServiceStateChange, **_more: object) -> None:
        if state_change is ServiceStateChange.Added:
            names.put(name)  # only kept: asking back here would block zeroconf's own thread

    end_s = time.monotonic() + timeout_s
    try:
        zeroconf = Zeroconf()
    except OSError as error:  # no network, or none that takes multicast
        _log.warning("can't look for phones: %s", error)
        return
    with zeroconf:
        ServiceBrowser(zeroconf, _SERVICE, handlers=[changed])
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                name = names.get(timeout=left_s)
            except queue.Empty:
                return
            info = zeroconf.get_service_info(_SERVICE, name, int(max(1.0, left_s) * 1000))
            if info is not None and info.port and info.parsed_addresses():
                yield name.removesuffix(f".{_SERVICE}"), info.parsed_addresses()[0], info.port
